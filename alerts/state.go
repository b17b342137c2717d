package alerts

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"schoolgate/policy"
)

// What is kept in alerts.db: one bucket each. Every value is JSON behind its
// CRC-32C, so that a flipped bit is found and not believed.
var (
	bucketMeta    = []byte("meta")    // "format", "cursor", "base"
	bucketAlerts  = []byte("alerts")  // alert ID → Alert
	bucketOpen    = []byte("open")    // key(event) → ID of the alert whose quiet period runs
	bucketMails   = []byte("mails")   // mail ID → Mail
	bucketHeld    = []byte("held")    // address NUL alert ID → a summary owes this person the alert
	bucketWindows = []byte("windows") // address → window
	bucketNotices = []byte("notices") // key of a notice → when it was told
	bucketClocks  = []byte("clocks")  // clockKey → clock: what happens to an alert by itself, and when
	bucketTries   = []byte("tries")   // whose → tries: to get round the filter, too few yet for an alert
	bucketTallies = []byte("tallies") // month and theme → Tally

	allBuckets = [][]byte{
		bucketMeta, bucketAlerts, bucketOpen, bucketMails, bucketHeld, bucketWindows, bucketNotices,
		bucketClocks, bucketTries, bucketTallies,
	}
)

// stateFormat is 2 since alerts are acknowledged; migrate reads what 1 wrote.
const stateFormat = 2

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var errDamaged = errors.New("record damaged")

func encode(v any) ([]byte, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return append(binary.BigEndian.AppendUint32(nil, crc32.Checksum(body, castagnoli)), body...), nil
}

func decode(b []byte, v any) error {
	if len(b) < 4 || binary.BigEndian.Uint32(b) != crc32.Checksum(b[4:], castagnoli) {
		return errDamaged
	}
	return json.Unmarshal(b[4:], v)
}

func number(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// tx is one step of the ledger: all of it happens or none.
type tx struct {
	*bbolt.Tx
	cfg *Config
	now time.Time

	openCount int // open alerts, -1 until counted
	opened    []uint8
	folded    int
	queued    int
	newlyHeld int
	late      int
	nobody    int
	acked     []answered
}

func (t *tx) put(bucket, key []byte, v any) error {
	b, err := encode(v)
	if err != nil {
		return err
	}
	return t.Bucket(bucket).Put(key, b)
}

// get reads a record into v; ok is false where there is none.
func (t *tx) get(bucket, key []byte, v any) (ok bool, err error) {
	b := t.Bucket(bucket).Get(key)
	if b == nil {
		return false, nil
	}
	if err := decode(b, v); err != nil {
		return false, fmt.Errorf("%s %x: %w", bucket, key, err)
	}
	return true, nil
}

func (t *tx) cursor() (id policy.EventID, err error) {
	var n uint64
	_, err = t.get(bucketMeta, []byte("cursor"), &n)
	return policy.EventID(n), err
}

func (t *tx) setCursor(id policy.EventID) error {
	return t.put(bucketMeta, []byte("cursor"), uint64(id))
}

// base is what alerts add to the number of their first event; more than 0 once a
// journal was lost and numbers its events from 1 again.
func (t *tx) base() (n uint64, err error) {
	_, err = t.get(bucketMeta, []byte("base"), &n)
	return n, err
}

// restart reads a new journal from its beginning. References go on above those
// given before, so none is given twice.
func (l *ledger) restart() error {
	return l.update(func(t *tx) error {
		base, err := t.base()
		if err != nil {
			return err
		}
		cursor, err := t.cursor()
		if err != nil {
			return err
		}
		if err := t.put(bucketMeta, []byte("base"), base+uint64(cursor)); err != nil {
			return err
		}
		return t.setCursor(0)
	})
}

func (t *tx) alert(id policy.EventID) (*Alert, error) {
	var a Alert
	ok, err := t.get(bucketAlerts, number(uint64(id)), &a)
	if err == nil && !ok {
		err = fmt.Errorf("alert %s: %w", reference(id), errDamaged)
	}
	return &a, err
}

func (t *tx) putAlert(a *Alert) error { return t.put(bucketAlerts, number(uint64(a.ID)), a) }

// eachMail walks the outbox in the order of its making. f may not change it.
func (t *tx) eachMail(f func(*Mail) error) error {
	return t.Bucket(bucketMails).ForEach(func(k, v []byte) error {
		var m Mail
		if err := decode(v, &m); err != nil {
			return fmt.Errorf("mail %x: %w", k, err)
		}
		return f(&m)
	})
}

// mails is the outbox as a list, for those who change it.
func (t *tx) mails() (list []*Mail, err error) {
	err = t.eachMail(func(m *Mail) error { list = append(list, m); return nil })
	return list, err
}

func (t *tx) putMail(m *Mail) error { return t.put(bucketMails, number(m.ID), m) }

func count(b *bbolt.Bucket) (n int) {
	c := b.Cursor()
	for k, _ := c.First(); k != nil; k, _ = c.Next() {
		n++
	}
	return n
}

// ledger is the state on disk and its steps. The caller decides when; each step
// is one transaction.
type ledger struct {
	cfg *Config
	db  *bbolt.DB

	forgetAt time.Time // when tick next looks for old alerts; tick's own

	now func() time.Time // the box's clock; tests set it wrong

	// crash, in tests only, stands for the power cut before (false) or after
	// (true) the commit of a step.
	crash func(committed bool) error
}

// openLedger opens or makes the state. What cannot be read is set aside with
// its date and everything is read again from the journal: people may hear of an
// alert twice, and of none too few.
func openLedger(cfg *Config) (*ledger, error) {
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("alerts: %w", err)
	}
	path := filepath.Join(cfg.Dir, "alerts.db")
	l, err := openSound(cfg, path)
	if err == nil || errors.Is(err, bolterrors.ErrTimeout) || errors.Is(err, os.ErrPermission) || errors.Is(err, errFormat) {
		return l, explainOpen(path, err)
	}
	aside := fmt.Sprintf("%s.damaged-%s", path, time.Now().UTC().Format("20060102T150405"))
	cfg.Log.Error("state of alerts cannot be read, set aside and built again from the journal; mails may repeat", "file", path, "aside", aside, "err", err)
	if err := os.Rename(path, aside); err != nil {
		return nil, fmt.Errorf("alerts: %w", err)
	}
	l, err = openSound(cfg, path)
	return l, explainOpen(path, err)
}

var errFormat = errors.New("made by a newer version of Schoolgate")

func explainOpen(path string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, bolterrors.ErrTimeout):
		return fmt.Errorf("alerts: %s is in use by another process", path)
	}
	return fmt.Errorf("alerts: %s: %w", path, err)
}

func openSound(cfg *Config, path string) (l *ledger, err error) {
	var db *bbolt.DB
	// bbolt panics on some damaged pages, and a file cut short faults.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			l, err = nil, fmt.Errorf("%w: %v", errDamaged, p)
			if db != nil {
				err = errors.Join(err, db.Close())
			}
		}
	}()
	db, err = bbolt.Open(path, 0o600, &bbolt.Options{Timeout: 2 * time.Second})
	if err != nil {
		return nil, err
	}
	l = &ledger{cfg: cfg, db: db, now: time.Now}
	err = l.update(func(t *tx) error {
		for _, name := range allBuckets {
			if _, err := t.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		if err := t.checkFormat(); err != nil {
			return err
		}
		if err := t.sound(); err != nil {
			return err
		}
		return t.readdress()
	})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return l, nil
}

func (t *tx) checkFormat() error {
	var format int
	ok, err := t.get(bucketMeta, []byte("format"), &format)
	if err != nil {
		return err
	}
	if ok && format > stateFormat {
		return errFormat
	}
	if ok && format < stateFormat {
		if err := t.migrate(); err != nil {
			return err
		}
	}
	return t.put(bucketMeta, []byte("format"), stateFormat)
}

// sound reads every page and record once.
func (t *tx) sound() error {
	for _, name := range allBuckets {
		err := t.Bucket(name).ForEach(func(k, v []byte) error {
			var any json.RawMessage
			if err := decode(v, &any); err != nil {
				return fmt.Errorf("%s %x: %w", name, k, err)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	if _, err := t.cursor(); err != nil {
		return err
	}
	var err error
	for problem := range t.Check() { // drained, or its goroutine would stay
		err = errors.Join(err, problem)
	}
	return err
}

// update runs one step and commits it to disk.
func (l *ledger) update(step func(*tx) error) error {
	err := l.db.Update(func(b *bbolt.Tx) error {
		if err := step(&tx{Tx: b, cfg: l.cfg, now: l.now(), openCount: -1}); err != nil {
			return err
		}
		if l.crash != nil {
			return l.crash(false)
		}
		return nil
	})
	if err == nil && l.crash != nil {
		return l.crash(true)
	}
	return err
}

func (l *ledger) view(look func(*tx) error) error {
	return l.db.View(func(b *bbolt.Tx) error {
		return look(&tx{Tx: b, cfg: l.cfg, now: l.now(), openCount: -1})
	})
}

func (l *ledger) close() error { return l.db.Close() }
