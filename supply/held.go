package supply

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	heldFolder   = "held"
	heldName     = "held.json"
	releasesName = "releases.log"
)

// Held is a version that was built and waits for a person (F14).
type Held struct {
	Version uint64    `json:"version"`
	Base    uint64    `json:"base"` // the version it was compared with
	Since   time.Time `json:"since"`
	Inputs  inputs    `json:"inputs"`
	Ordered bool      `json:"ordered,omitempty"` // a person had it built, so nothing but a person ends the hold
	Content string    `json:"starter,omitempty"` // the starter lists it was built of
	gateReport
}

// String tells a person what waits and why, and how to let it in.
func (h *Held) String() string {
	return fmt.Sprintf("store %d is HELD BACK since %s: %s; look into it, then: schoolgate lists release %d --reason ... --by ...",
		h.Version, h.Since.Format("2 January 15:04"), strings.Join(h.Reasons, "; "), h.Version)
}

func (s *Supply) heldDir() string { return filepath.Join(s.cfg.Box.Lists.Store, heldFolder) }

func (s *Supply) heldPath(version uint64) string {
	return filepath.Join(s.heldDir(), fmt.Sprintf("store-%d.db", version))
}

// held is the version that waits, nil for none.
func (s *Supply) held() (*Held, error) { return readHeld(s.cfg.Box.Lists.Store) }

func readHeld(storeDir string) (*Held, error) {
	var h Held
	err := readJSON(filepath.Join(storeDir, heldFolder, heldName), &h)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &h, nil
}

// holdBack writes down that a candidate waits, in place of the one before.
func (s *Supply) holdBack(h Held) (*Held, error) {
	h.Since = time.Now()
	s.step("hold back")
	if err := writeJSON(filepath.Join(s.heldDir(), heldName), &h); err != nil {
		return nil, fmt.Errorf("holding store %d back: %w", h.Version, err)
	}
	s.log.Error("new version of the lists is held back, IT and leadership must look", "version", h.Version,
		"must_stay_open", len(h.MustOpen), "used_hosts_blocked", h.BlockedHosts, "used_hosts", h.UsedHosts)
	return &h, s.sweepHeld(h.Version)
}

// dropHeld ends a hold: what was held has been published, or is not wanted now.
func (s *Supply) dropHeld() error {
	s.step("end a hold")
	err := os.Remove(filepath.Join(s.heldDir(), heldName))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, s.sweepHeld(0))
}

// sweepHeld removes candidates other than the one that waits.
func (s *Supply) sweepHeld(keep uint64) (err error) {
	files, err := filepath.Glob(filepath.Join(s.heldDir(), "store-*"))
	for _, f := range files {
		if f != s.heldPath(keep) {
			err = errors.Join(err, os.Remove(f))
		}
	}
	return err
}

// Release is a person's word that a version may come into force all the same.
type Release struct {
	Version uint64    `json:"version"`
	By      string    `json:"by"`
	Reason  string    `json:"reason"`
	Time    time.Time `json:"time"`
	Held    []string  `json:"held"` // why it had been held back
}

// maxWords bounds what a person writes, in bytes.
const maxWords = 500

func (r Release) check() error {
	for name, text := range map[string]string{"reason": r.Reason, "by": r.By} {
		if strings.TrimSpace(text) == "" {
			return fmt.Errorf("a release needs --%s, which is kept on record", name)
		}
		if len(text) > maxWords {
			return fmt.Errorf("--%s is longer than %d bytes", name, maxWords)
		}
	}
	return nil
}

// Release puts a version in force that the gate held back. If mandatory lists
// have moved on since, the same public content is built anew with them.
func (s *Supply) Release(ctx context.Context, r Release) (said string, err error) {
	if err := r.check(); err != nil {
		return "", err
	}
	err = s.locked(ctx, func() error {
		held, err := s.held()
		if err != nil {
			return fmt.Errorf("what is held back cannot be read: %w", err)
		}
		if held == nil || held.Version != r.Version {
			return fmt.Errorf("store %d is not held back (see schoolgate lists status)", r.Version)
		}
		r.Time, r.Held = time.Now(), held.Reasons
		if err := s.record(r); err != nil {
			return fmt.Errorf("not released, since it cannot be put on record: %w", err)
		}
		s.log.Warn("a held version of the lists is released", "version", r.Version, "by", r.By, "reason", r.Reason)
		said, err = s.release(ctx, held)
		return errors.Join(err, s.sweep())
	})
	return said, err
}

func (s *Supply) release(ctx context.Context, held *Held) (string, error) {
	c, in := candidate{s.heldPath(held.Version), held.Version}, held.Inputs
	newest, _ := s.split(s.wanted())
	then, _ := s.split(held.Inputs)
	if _, err := os.Stat(c.path); err != nil || !newest.equal(then) {
		in = s.pinned(held.Inputs, s.wanted())
		if c, _, _, err = s.build(ctx, in, nil); err != nil {
			return "", err
		}
	}
	said, err := s.publish(ctx, c, in)
	if err != nil {
		return said, err
	}
	return fmt.Sprintf("store %d released; %s", held.Version, said), s.dropHeld()
}

// record appends a release to the file of them, on the disk, before it is done.
func (s *Supply) record(r Release) error {
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	s.step("record a release")
	f, err := os.OpenFile(filepath.Join(s.cfg.Box.Lists.Store, releasesName), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(line, '\n'))
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}
