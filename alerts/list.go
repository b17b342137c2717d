package alerts

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"schoolgate/policy"
)

// Listing is the alerts as they stood at a moment, newest first.
type Listing struct {
	Written time.Time `json:"written"`
	Total   int       `json:"total"` // alerts kept; at most a thousand are listed, all that wait for an answer among them
	Alerts  []Alert   `json:"alerts"`
	Tallies []Tally   `json:"tallies,omitempty"` // of pupils' alerts, by month and theme

	// Cursor is how far the journal had been read: acts up to it are in the list.
	Cursor policy.EventID `json:"cursor,omitempty"`
}

const listName = "alerts.json"

// folder is where alerts are kept, in the data directory.
const folder = "alerts"

// In is the folder of alerts of the box whose data directory is data.
func In(data string) string { return filepath.Join(data, folder) }

// List reads the alerts kept in a directory, also while a [Service] works there:
// the service holds its state locked and writes this list beside it, at most
// once a second, whenever something changes.
func List(dir string) (Listing, error) {
	var l Listing
	f, err := os.Open(filepath.Join(dir, listName))
	if errors.Is(err, fs.ErrNotExist) {
		return l, fmt.Errorf("no list of alerts in %s: has Schoolgate run with this data directory?", dir)
	}
	if err != nil {
		return l, err
	}
	defer f.Close()
	if err := json.NewDecoder(io.LimitReader(f, 64<<20)).Decode(&l); err != nil {
		return l, fmt.Errorf("list of alerts %s: %w", f.Name(), err)
	}
	return l, nil
}

// publish keeps the list fresh until ctx is done.
func (s *Service) publish(ctx context.Context) {
	poke(s.changed)
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.changed:
		}
		if err := s.writeList(); err != nil {
			s.log.Warn("list of alerts not written", "err", err)
		}
		if !pause(ctx, time.Second) {
			return
		}
	}
}

// writeList replaces the list in one step, so that a reader never sees half.
func (s *Service) writeList() error {
	l := Listing{Written: time.Now()}
	if err := s.ledger.view(l.read); err != nil {
		return err
	}
	path := filepath.Join(s.cfg.Dir, listName)
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(json.NewEncoder(f).Encode(&l), f.Close()); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func (l *Listing) read(t *tx) (err error) {
	if l.Cursor, err = t.cursor(); err != nil {
		return err
	}
	if l.Tallies, err = t.tallies(); err != nil {
		return err
	}
	b := t.Bucket(bucketAlerts)
	l.Total = b.Stats().KeyN
	c := b.Cursor()
	for k, v := c.Last(); k != nil && len(l.Alerts) < maxListed; k, v = c.Prev() {
		var a Alert
		if err := decode(v, &a); err != nil {
			return fmt.Errorf("alert %x: %w", k, err)
		}
		l.Alerts = append(l.Alerts, a)
	}
	return l.addUnanswered(t)
}

// addUnanswered lists older alerts that still wait for an answer: a flood of new
// ones must not hide them.
func (l *Listing) addUnanswered(t *tx) error {
	if len(l.Alerts) < maxListed {
		return nil
	}
	oldest := l.Alerts[len(l.Alerts)-1].ID
	c := t.Bucket(bucketClocks).Cursor()
	for k, _ := c.Seek([]byte{clockAnswer}); k != nil && k[0] == clockAnswer && len(l.Alerts) < 2*maxListed; k, _ = c.Next() {
		id := policy.EventID(binary.BigEndian.Uint64(k[1:]))
		if id >= oldest {
			break
		}
		a, err := t.alert(id)
		if err != nil {
			return err
		}
		l.Alerts = append(l.Alerts, *a)
	}
	return nil
}
