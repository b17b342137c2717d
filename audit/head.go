package audit

import (
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"schoolgate/policy"
)

// Head is how far the journal had come at a moment. Kept elsewhere (in a mail,
// on paper), it shows later that nothing up to Seq was altered or removed (T12).
type Head struct {
	Seq   policy.EventID // the last event
	Chain string         // SHA-256 over everything up to it, in hex
	Time  time.Time
}

// String is the line a head is kept as: what [ParseHead] reads.
func (h Head) String() string {
	line := fmt.Sprintf("schoolgate-head %d %s %s", uint64(h.Seq), h.Chain, h.Time.UTC().Format(time.RFC3339))
	return fmt.Sprintf("%s %08x", line, crc32.Checksum([]byte(line), crcTable))
}

// ParseHead reads a head from its line.
func ParseHead(line string) (Head, error) {
	bad := fmt.Errorf("bad journal head %q", line)
	f := strings.Fields(line)
	if len(f) != 5 || f[0] != "schoolgate-head" {
		return Head{}, bad
	}
	seq, err := strconv.ParseUint(f[1], 10, 64)
	sum, err2 := hex.DecodeString(f[2])
	at, err3 := time.Parse(time.RFC3339, f[3])
	h := Head{Seq: policy.EventID(seq), Chain: f[2], Time: at}
	if errors.Join(err, err2, err3) != nil || len(sum) != chainSize || h.String() != strings.Join(f, " ") {
		return Head{}, bad
	}
	return h, nil
}

// mark is a head as the writer keeps it.
type mark struct {
	seq   policy.EventID
	chain chain
	at    time.Time
}

func (m mark) head() Head {
	return Head{Seq: m.seq, Chain: hex.EncodeToString(m.chain[:]), Time: m.at}
}

const (
	headFile = "head"
	headSlot = 256 // bytes; two slots, written in turn, so that one is always whole
)

// headWriter keeps the head file.
type headWriter struct {
	f    file
	slot int64
}

func openHead(d disk, dir string) (*headWriter, error) {
	f, err := d.Modify(filepath.Join(dir, headFile))
	if err != nil {
		return nil, err
	}
	return &headWriter{f: f}, nil
}

// put writes the head and waits for the disk. What it names must be there first.
func (w *headWriter) put(h Head) error {
	line := fmt.Sprintf("%-*s\n", headSlot-1, h)
	w.slot ^= 1
	if _, err := w.f.WriteAt([]byte(line), w.slot*headSlot); err != nil {
		return err
	}
	return w.f.Sync()
}

// readHead is the newest whole head kept in dir; ok is false if there is none.
func readHead(dir string) (h Head, ok bool, err error) {
	b, err := os.ReadFile(filepath.Join(dir, headFile))
	if errors.Is(err, fs.ErrNotExist) {
		return h, false, nil
	}
	if err != nil {
		return h, false, err
	}
	for line := range strings.Lines(strings.ReplaceAll(string(b), "\x00", "")) {
		if got, err := ParseHead(strings.TrimSpace(line)); err == nil && (!ok || got.Seq >= h.Seq) {
			h, ok = got, true
		}
	}
	return h, ok, nil
}
