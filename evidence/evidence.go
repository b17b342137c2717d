package evidence

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"schoolgate/audit"
	"schoolgate/configs"
	"schoolgate/incidents"
	"schoolgate/internal/durable"
	"schoolgate/policy"
	"schoolgate/supply"
)

// keyFile is the seed of the key that this box signs evidence with.
const keyFile = "evidence.key"

// Key is that key, made on first use. Its public half should be handed out
// before it is needed: on paper, in a mail to the governors.
func Key(cfg *configs.Config) (ed25519.PrivateKey, error) {
	path := filepath.Join(cfg.Box.Data, keyFile)
	seed, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		seed, err = makeKey(path)
	}
	if err != nil {
		return nil, fmt.Errorf("key for evidence: %w", err)
	}
	if len(seed) != ed25519.SeedSize {
		return nil, fmt.Errorf("key for evidence: %s has %d bytes, want %d: put it back from a backup", path, len(seed), ed25519.SeedSize)
	}
	return ed25519.NewKeyFromSeed(seed), nil
}

// makeKey puts a new key in place, whole; the first to do so wins.
func makeKey(path string) ([]byte, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	seed := make([]byte, ed25519.SeedSize)
	rand.Read(seed)
	f, err := os.CreateTemp(filepath.Dir(path), keyFile+".*")
	if err != nil {
		return nil, err
	}
	_, err = f.Write(seed)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Link(f.Name(), path) // fails where another was faster
	}
	_ = os.Remove(f.Name()) // its other name is the one that counts
	if errors.Is(err, fs.ErrExist) {
		return os.ReadFile(path)
	}
	return seed, errors.Join(err, durable.SyncDir(filepath.Dir(path)))
}

// bundleAbout is the first record of a bundle: what it is, and what it was taken from.
type bundleAbout struct {
	School   string    `json:"school,omitempty"`
	Incident string    `json:"incident,omitempty"`
	Made     time.Time `json:"made"`
	By       string    `json:"by"`
	Reason   string    `json:"reason"`
	Rule     string    `json:"rule"` // which log entries are in it
	From     time.Time `json:"from,omitzero"`
	To       time.Time `json:"to,omitzero"`
	// Heads of the two stores then: audit verify --head shows later that nothing up
	// to there was altered or removed since.
	JournalHead  string `json:"journal_head,omitempty"`
	RegisterHead string `json:"register_head,omitempty"`
	Unreadable   int    `json:"unreadable,omitempty"` // stretches of the log that could not be read
}

// bundleEvent is a log entry; the address of a mandatory hit is in it sealed only.
type bundleEvent struct {
	policy.Event
	Sealed []byte `json:"sealed,omitempty"`
}

// bundleStep is a step of the incident.
type bundleStep struct {
	Record uint64    `json:"record"` // its number in the register
	At     time.Time `json:"at"`
	By     string    `json:"by"`
	Act    string    `json:"act"`
	incidents.Change
}

// Options is what goes into a bundle.
type Options struct {
	By, Reason string
	Around     time.Duration // of the incident's time, for the same device
}

// maxEvents bounds the log entries of a bundle. One that would have more is not written:
// it says of itself that it has every entry.
const maxEvents = 20000

// Write writes what the register and the log hold of an incident: all of its
// steps, the log entries it names, and what the same device asked for around that
// time. Nothing of another child is in it.
func Write(ctx context.Context, cfg *configs.Config, w io.Writer, i *incidents.Incident, o Options) (ed25519.PublicKey, error) {
	key, err := Key(cfg)
	if err != nil {
		return nil, err
	}
	events, unreadable, err := eventsOf(ctx, cfg, i, o.Around)
	if err != nil {
		return nil, err
	}
	about := bundleAbout{
		School: cfg.School.Name, Incident: i.Ref(), Made: time.Now().UTC().Truncate(time.Second), By: o.By, Reason: o.Reason,
		Rule:       "every entry that the incident names, and every entry of the same device from the first time to the last; what somebody else did who had signed in on it is left out",
		Unreadable: unreadable,
	}
	if !i.Facts.Time.IsZero() {
		about.From, about.To = i.Facts.Time.Add(-o.Around), i.Facts.Time.Add(o.Around)
	}
	for to, dir := range map[*string]audit.Dir{&about.JournalHead: audit.In(cfg.Box.Data), &about.RegisterHead: incidents.In(cfg.Box.Data)} {
		if head, ok, err := dir.Head(); err != nil {
			return nil, err
		} else if ok {
			*to = head.String()
		}
	}
	b := audit.NewBundle(w, key)
	if err := b.Add("about", about); err != nil {
		return nil, err
	}
	for n := range i.Steps {
		s := &i.Steps[n]
		if err := b.Add("step", bundleStep{uint64(s.ID), s.At, s.By, s.Act, s.Change}); err != nil {
			return nil, err
		}
	}
	for n := range events {
		if err := b.Add("event", bundleEvent{events[n], []byte(events[n].Sealed)}); err != nil {
			return nil, err
		}
	}
	public, _ := key.Public().(ed25519.PublicKey)
	return public, b.Close()
}

// eventsOf are the log entries of an incident, in order.
func eventsOf(ctx context.Context, cfg *configs.Config, i *incidents.Incident, around time.Duration) (list []policy.Event, unreadable int, err error) {
	have := map[policy.EventID]bool{}
	journal, veil := audit.In(cfg.Box.Data), supply.Veil(cfg)
	// Of a shared device: whoever else had signed in on it is another child.
	mine := func(e *policy.Event) bool { return e.Person == "" || e.Person == i.Facts.Person }
	if _, err := os.Stat(journal.Path); errors.Is(err, fs.ErrNotExist) {
		return nil, 0, nil
	}
	named := i.Facts.More
	if i.Facts.Event != 0 {
		named = append([]policy.EventID{i.Facts.Event}, named...)
	}
	for _, id := range named {
		if have[id] {
			continue
		}
		e, err := journal.Event(ctx, id)
		if errors.Is(err, audit.ErrNoEvent) {
			unreadable++ // its days are over, say: the incident keeps what it said
			continue
		}
		if err != nil {
			return nil, 0, err
		}
		have[e.ID] = true
		if mine(&e) {
			veil(&e)
			list = append(list, e)
		}
	}
	q := audit.Query{Device: i.Facts.Device, From: i.Facts.Time.Add(-around), To: i.Facts.Time.Add(around), Limit: maxEvents + 1, Veil: veil}
	if q.Device == "" {
		q.Client = i.Facts.Client
	}
	if i.Facts.Time.IsZero() || q.Device == "" && q.Client == "" {
		return list, unreadable, nil
	}
	found := 0
	for e, err := range journal.Search(ctx, q) {
		if gap := (*audit.GapError)(nil); errors.As(err, &gap) {
			unreadable++
			continue
		}
		if err != nil {
			return nil, 0, err
		}
		if found++; found > maxEvents {
			return nil, 0, fmt.Errorf("the device has more than %d log entries within %s of the incident's time: ask for a shorter time around it", maxEvents, around)
		}
		if !have[e.ID] && mine(&e) {
			list = append(list, e)
		}
	}
	slices.SortFunc(list, func(a, b policy.Event) int { return int(int64(a.ID) - int64(b.ID)) })
	return list, unreadable, nil
}
