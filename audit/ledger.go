package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"schoolgate/policy"
)

// retentionFile holds the holds and the clock that retention goes by. It is kept
// twice: without it a hold would be forgotten, and what it holds removed.
const retentionFile = "retention.json"

// ledger is that file.
type ledger struct {
	Trusted time.Time `json:"trusted,omitzero"` // the moment retention believes it is
	Ran     time.Time `json:"ran,omitzero"`     // the box's clock at the last run
	Begun   bool      `json:"begun,omitempty"`  // something has been removed
	Holds   []Hold    `json:"holds,omitempty"`
}

// ErrLedger: the file with the holds is lost or damaged, so nothing is removed.
var ErrLedger = errors.New("the record of legal holds is lost or damaged: nothing is removed until a person says so")

// readLedger reads the first whole copy.
func (d Dir) readLedger() (l ledger, err error) {
	missing := 0
	for _, name := range []string{retentionFile, retentionFile + ".copy"} {
		b, err := os.ReadFile(filepath.Join(d.Path, name))
		if errors.Is(err, fs.ErrNotExist) {
			missing++
			continue
		}
		if err == nil && json.Unmarshal(b, &l) == nil {
			return l, nil
		}
		l = ledger{}
	}
	if missing < 2 {
		return l, fmt.Errorf("%w (%s)", ErrLedger, filepath.Join(d.Path, retentionFile))
	}
	receipts, err := d.Receipts()
	if err == nil && len(receipts) > 0 { // it was there when something was removed
		err = fmt.Errorf("%w (%s is missing)", ErrLedger, filepath.Join(d.Path, retentionFile))
	}
	return l, err
}

func (j *Journal) writeLedger(l ledger) error {
	b, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return err
	}
	for _, name := range []string{retentionFile, retentionFile + ".copy"} {
		if err := writeWhole(j.disk, filepath.Join(j.dir, name), append(b, '\n')); err != nil {
			return fmt.Errorf("legal holds: %w", err)
		}
	}
	return nil
}

// Holds lists all legal holds, also lifted ones.
func (d Dir) Holds() ([]Hold, error) {
	l, err := d.readLedger()
	return l.Holds, err
}

// AddHold keeps from now on what a hold matches, and gives it its number. It is on
// record, as an act of h.By, before it stands.
func (j *Journal) AddHold(h Hold) (Hold, error) {
	if err := h.check(); err != nil {
		return h, err
	}
	j.retaining.Lock()
	defer j.retaining.Unlock()
	l, err := j.ledger()
	if err != nil {
		return h, err
	}
	for _, old := range l.Holds {
		h.ID = max(h.ID, old.ID)
	}
	h.ID++
	h.At, h.Lifted = time.Now().UTC(), time.Time{}
	act := policy.StaffAct(h.At, h.By, "audit.hold.add", h.String(), h.Reason)
	if err := j.Record(&act); err != nil {
		return h, err
	}
	l.Holds = append(l.Holds, h)
	return h, j.writeLedger(l)
}

// LiftHold ends a hold. What it held is removed by the next run, if it is due.
func (j *Journal) LiftHold(id int, by, why string) (Hold, error) {
	if by == "" || why == "" {
		return Hold{}, errors.New("lifting a hold needs a reason, and who does it")
	}
	j.retaining.Lock()
	defer j.retaining.Unlock()
	l, err := j.ledger()
	if err != nil {
		return Hold{}, err
	}
	for i := range l.Holds {
		h := &l.Holds[i]
		if h.ID != id || !h.Stands() {
			continue
		}
		now := time.Now().UTC()
		act := policy.StaffAct(now, by, "audit.hold.lift", h.String(), why)
		if err := j.Record(&act); err != nil {
			return *h, err
		}
		h.Lifted, h.LiftedBy, h.LiftedWhy = now, by, why
		return *h, j.writeLedger(l)
	}
	return Hold{}, fmt.Errorf("no hold %d stands", id)
}

func (j *Journal) ledger() (ledger, error) {
	return Dir{Path: j.dir, KeyFile: j.opts.KeyFile}.readLedger()
}

// How far retention follows the clock in one run. A clock that jumps a year ahead
// so costs a day or two too early, not a year of records (F12); after a summer
// switched off it takes as long to catch up, or a person says the clock is right.
const (
	maxStep  = 48 * time.Hour
	runEvery = 20 * time.Hour
)

// believed is the moment a run goes by. behind is how far that is behind the clock.
func (l *ledger) believed(now, recorded time.Time, trust bool) (at time.Time, behind time.Duration) {
	from := l.Trusted
	if from.IsZero() {
		if from = recorded; from.IsZero() {
			from = now
		}
	}
	at = now
	if limit := from.Add(maxStep); now.After(limit) && !trust {
		at = limit
	}
	return at, now.Sub(at)
}

// wait is the pace of a run: it leaves disk and processor to requests.
func (j *Journal) wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
