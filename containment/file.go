package containment

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"schoolgate/internal/durable"
)

// The file, and the same once more. The copy is written first, so whichever of
// the two is whole holds everything that was acknowledged.
const (
	fileName = "containment"
	copyName = "containment.copy"
	magic    = "schoolgate-containment 1 "
	maxFile  = 4 << 20
)

// ErrDamaged is what a state that cannot be read gives: nobody knows any more who
// was cut off.
var ErrDamaged = errors.New("the record of quarantines and emergency blocks cannot be read")

// Load reads the state kept in a folder; an empty one if none was ever kept. With
// [ErrDamaged] nothing may be let through. A note says what a person should hear
// though nothing was lost.
func Load(dir string) (s State, note string, err error) {
	main, errMain := read(filepath.Join(dir, fileName))
	again, errCopy := read(filepath.Join(dir, copyName))
	switch {
	case errMain == nil && errCopy == nil:
		if again.Revision > main.Revision {
			main = again
		}
		return main, "", nil
	case errors.Is(errMain, fs.ErrNotExist) && errors.Is(errCopy, fs.ErrNotExist):
		return State{}, "", nil
	case errMain == nil:
		return main, fmt.Sprintf("the copy is bad, the file itself is good: %v", errCopy), nil
	case errCopy == nil:
		return again, fmt.Sprintf("the file is bad, going by its copy: %v", errMain), nil
	}
	return State{}, "", fmt.Errorf("%w: %w; %w", ErrDamaged, errMain, errCopy)
}

func read(name string) (s State, err error) {
	f, err := os.Open(name)
	if err != nil {
		return s, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return s, err
	}
	if s, err = parse(text); err != nil {
		return s, fmt.Errorf("%s: %w", name, err)
	}
	return s, nil
}

func parse(text []byte) (s State, err error) {
	if len(text) > maxFile {
		return s, fmt.Errorf("larger than %d bytes", maxFile)
	}
	head, body, ok := bytes.Cut(text, []byte("\n"))
	sum, magicOK := bytes.CutPrefix(head, []byte(magic))
	if !ok || !magicOK {
		return s, errors.New("not a record of quarantines")
	}
	if got := sha256.Sum256(body); hex.EncodeToString(got[:]) != string(sum) {
		return s, errors.New("its checksum is wrong")
	}
	if err := json.Unmarshal(body, &s); err != nil {
		return State{}, err
	}
	for _, list := range [][]Entry{s.Devices, s.Hosts} {
		if len(list) > MaxEntries {
			return State{}, fmt.Errorf("more than %d entries", MaxEntries)
		}
		for i := range list {
			if err := list[i].check(); err != nil {
				return State{}, err
			}
		}
	}
	return s, nil
}

// Save keeps the state in a folder. When it returns nil, a power cut does not
// lose it.
func Save(dir string, s State) error {
	body, err := json.Marshal(s)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(body)
	text := append([]byte(magic+hex.EncodeToString(sum[:])+"\n"), body...)
	if len(text) > maxFile {
		return fmt.Errorf("the record of quarantines would be larger than %d bytes", maxFile)
	}
	for _, name := range []string{copyName, fileName} {
		if err := replace(filepath.Join(dir, name), text); err != nil {
			return err
		}
	}
	return nil
}

// replace puts a file in place, the old one or the new one whole at any moment.
func replace(name string, text []byte) error {
	tmp := name + ".new"
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(tmp, name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	return durable.SyncDir(filepath.Dir(name))
}
