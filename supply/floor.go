package supply

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"

	"schoolgate/categories"
)

// Which mandatory lists are in force is told by the store in force. Where no version
// of it can be read, it is told by a record beside the key, under a sum that only
// who has the key can make: a box that lost its stores does not forget what no
// build may lack (I5).

const floorRecordName = "mandatory.in-force"

// floorRecord is what is kept: the mandatory lists of a store, by name and size, and
// never an entry of one.
type floorRecord struct {
	Info json.RawMessage `json:"info"`
	Sum  []byte          `json:"hmac_sha256"`
}

func floorSum(key, info []byte) []byte {
	own := hmac.New(sha256.New, key) // the key has other uses
	own.Write([]byte("mandatory lists in force"))
	mac := hmac.New(sha256.New, own.Sum(nil))
	mac.Write(info)
	return mac.Sum(nil)
}

// noteFloor writes down the mandatory lists of a store that is in force now.
func noteFloor(folder string, key []byte, info categories.Info) error {
	floor := categories.Info{Version: info.Version}
	if !StarterOnly(info) {
		floor.Mandatory = maps.Clone(info.Mandatory)
		for i := range info.Sources {
			if info.Sources[i].Mandatory {
				floor.Sources = append(floor.Sources, info.Sources[i])
			}
		}
	}
	text, err := json.Marshal(floor)
	if err == nil {
		err = writeJSON(filepath.Join(folder, floorRecordName), floorRecord{text, floorSum(key, text)})
	}
	if err != nil {
		return fmt.Errorf("the record of mandatory lists in force: %w", err)
	}
	return nil
}

// readFloor reads the record. A box that has none yet has nothing on record.
func readFloor(folder string, key []byte) (info categories.Info, err error) {
	path := filepath.Join(folder, floorRecordName)
	var r floorRecord
	if err = readJSON(path, &r); errors.Is(err, fs.ErrNotExist) {
		return info, nil
	}
	var compact bytes.Buffer // writeJSON indents what was summed
	if err == nil {
		err = json.Compact(&compact, r.Info)
	}
	if err == nil && !hmac.Equal(r.Sum, floorSum(key, compact.Bytes())) {
		err = fmt.Errorf("%s: its sum is wrong: it was changed, or written under another key", path)
	}
	if err == nil {
		err = json.Unmarshal(compact.Bytes(), &info)
	}
	if err != nil {
		return categories.Info{}, fmt.Errorf("the record of mandatory lists in force: %w", err)
	}
	return info, nil
}

// keepsRecord refuses a store without a mandatory list that is on record. A record
// that cannot be read says nothing as long as a store can: it is written anew with
// the next version. Without either, nobody knows what a build may lack.
func (s *Supply) keepsRecord(readable bool, next categories.Info) error {
	folder := s.cfg.Box.Lists.Store
	floor, err := readFloor(folder, s.key)
	switch {
	case err != nil && readable:
		s.log.Warn("which mandatory lists are in force is taken from the store", "err", err)
		return nil
	case err != nil:
		return fmt.Errorf("no version of the lists can be read, and neither can what must be in one: %w. "+
			"Bring %s back from the box's backup", err, folder)
	}
	return keepsMandatory(folder, floor, next)
}

// recallFloor writes the record of a box that has lists in force and no record yet.
func (s *Supply) recallFloor() error {
	folder := s.cfg.Box.Lists.Store
	if err := readJSON(filepath.Join(folder, floorRecordName), &floorRecord{}); !errors.Is(err, fs.ErrNotExist) {
		return nil // keepsRecord judges what is there
	}
	store, _, err := s.dir.OpenLastGood(s.key)
	if errors.Is(err, categories.ErrNoStore) {
		return nil
	}
	if err != nil {
		return err
	}
	return noteFloor(folder, s.key, store.Info())
}

// noteFloorOf is [noteFloor] of the store at path.
func noteFloorOf(folder string, key []byte, path string) error {
	store, err := categories.Open(path, key)
	if err != nil {
		return fmt.Errorf("the record of mandatory lists in force: %w", err)
	}
	defer store.Close()
	return noteFloor(folder, key, store.Info())
}
