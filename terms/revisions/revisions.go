package revisions

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"schoolgate/acts"
	"schoolgate/configs"
	"schoolgate/policy"
	"schoolgate/redaction"
	"schoolgate/supply"
	"schoolgate/terms"
)

// folder is the folder of the revisions, in the data folder.
const folder = "terms"

const revisionFile = "revision.json"

// Revision is one state of the school's own packs.
type Revision struct {
	Number      int               `json:"number"`
	Time        time.Time         `json:"time"`
	By          string            `json:"by"`
	Second      string            `json:"second,omitempty"` // who agreed to a loosening
	Reason      string            `json:"reason"`
	Changes     []terms.Change    `json:"changes"`
	Fingerprint string            `json:"fingerprint"` // of the packs
	Packs       map[string]string `json:"packs"`       // texts by file name
}

// List is every revision kept, the oldest first.
func List(cfg *configs.Config) ([]Revision, error) {
	dir := filepath.Join(cfg.Box.Data, folder)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("terms: %w", err)
	}
	var list []Revision
	for _, e := range entries {
		number, ok := revisionNumber(e.Name())
		if !ok {
			continue
		}
		r, err := readRevision(filepath.Join(dir, e.Name()))
		if err == nil && r.Number != number {
			err = fmt.Errorf("it says it is revision %d", r.Number)
		}
		if err != nil {
			return nil, fmt.Errorf("terms: %s: %w", e.Name(), err)
		}
		list = append(list, r)
	}
	slices.SortFunc(list, func(a, b Revision) int { return a.Number - b.Number })
	return list, nil
}

func revisionNumber(name string) (int, bool) {
	digits, ok := strings.CutSuffix(name, "-"+revisionFile)
	n, err := strconv.Atoi(digits)
	return n, ok && err == nil && n > 0
}

func revisionName(number int) string { return fmt.Sprintf("%06d-%s", number, revisionFile) }

// maxRevision bounds one revision, in bytes.
const maxRevision = 64 << 20

func readRevision(name string) (r Revision, err error) {
	if info, err := os.Stat(name); err != nil || info.Size() > maxRevision {
		return r, errors.Join(err, errors.New("it is no revision that was saved here"))
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(text, &r); err != nil {
		return r, err
	}
	if r.Fingerprint != fingerprint(r.Packs) {
		return r, errors.New("its packs are not as they were saved: go back to a copy of it, or remove it and save the packs anew")
	}
	return r, nil
}

// fingerprint names the texts of packs.
func fingerprint(packs map[string]string) string {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(packs)) {
		fmt.Fprintf(h, "%s %d\n%s", filepath.Base(name), len(packs[name]), packs[name])
	}
	return hex.EncodeToString(h.Sum(nil))[:12]
}

// newest is the packs of the newest revision, none before the first.
func newest(cfg *configs.Config) (packs map[string]string, number int, err error) {
	list, err := List(cfg)
	if err != nil || len(list) == 0 {
		return nil, 0, err
	}
	last := list[len(list)-1]
	return last.Packs, last.Number, nil
}

// ErrLoosens is what packs are refused with that would hear less and that no second
// person agreed to.
var ErrLoosens = errors.New("would hear less, which takes a reason and a second person: schoolgate terms save")

// InForce is the watch of a configuration: the packs in the program, with the
// school's own as far as they may be in force. Where they may not, the last revision
// stands in for them, and err says why.
func InForce(cfg *configs.Config) (set *terms.Set, packs map[string]string, err error) {
	packs = cfg.School.Terms.Packs
	last, _, err := newest(cfg)
	if err != nil {
		last = nil
	} else if loose := terms.Loosening(terms.Changes(last, packs)); len(loose) > 0 {
		err = fmt.Errorf("terms: %s: %w (first: %s)", counted(len(loose), "change"), ErrLoosens, loose[0].Text)
	}
	set, problems := Load(packs)
	if problems != nil {
		err = problems
	}
	if err == nil {
		return set, packs, nil
	}
	if set, problems = Load(last); problems != nil {
		last = nil
		if set, problems = Load(nil); problems != nil {
			return nil, nil, problems // a test holds that those in the program load
		}
	}
	return set, last, err
}

// Load compiles a school's own packs with those in the program; all problems
// are in the error.
func Load(packs map[string]string) (*terms.Set, error) {
	set, problems := terms.LoadWith(packs)
	errs := make([]error, len(problems))
	for i, p := range problems {
		errs[i] = p
	}
	return set, errors.Join(errs...)
}

func counted(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// Saving is what a person wants to be in force.
type Saving struct {
	By, Second, Reason string
}

// Save keeps the packs of the configuration as a revision, so that they may be in
// force, and records that. nil changes are nothing to save.
func Save(ctx context.Context, cfg *configs.Config, s Saving) (Revision, error) {
	packs := cfg.School.Terms.Packs
	if _, err := Load(packs); err != nil {
		return Revision{}, err
	}
	last, number, err := newest(cfg)
	if err != nil {
		return Revision{}, err
	}
	r := Revision{
		Number: number + 1, Time: time.Now(), By: strings.TrimSpace(s.By), Second: strings.TrimSpace(s.Second),
		Reason: redaction.Text(supply.AtRest(cfg), strings.TrimSpace(s.Reason)), Packs: packs, Fingerprint: fingerprint(packs), Changes: terms.Changes(last, packs),
	}
	switch loose := terms.Loosening(r.Changes); {
	case r.By == "" || r.Reason == "":
		return r, errors.New("terms: say who saves, and why")
	case fingerprint(last) == r.Fingerprint:
		return r, nil
	case len(loose) > 0 && r.Second == "":
		return r, fmt.Errorf("terms: %s %w", counted(len(loose), "change"), ErrLoosens)
	case len(loose) > 0 && strings.EqualFold(r.Second, r.By):
		return r, errors.New("terms: the second person must be another one")
	}
	act := policy.StaffAct(r.Time, r.By, "terms.save", r.subject(), r.Reason)
	if err := acts.Record(ctx, cfg, &act); err != nil {
		return r, fmt.Errorf("terms: not saved, since it could not be recorded: %w", err)
	}
	return r, r.keep(cfg)
}

// subject is what the journal says of a revision.
func (r *Revision) subject() string {
	text := fmt.Sprintf("revision %d, packs %s, %s", r.Number, r.Fingerprint, counted(len(r.Changes), "change"))
	if loose := len(terms.Loosening(r.Changes)); loose > 0 {
		text += fmt.Sprintf(", %d of them hear less, agreed by %s", loose, r.Second)
	}
	return text
}

// keep writes the revision down. Two who save at once cannot write the same one.
func (r *Revision) keep(cfg *configs.Config) error {
	dir := filepath.Join(cfg.Box.Data, folder)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("terms: %w", err)
	}
	text, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".saving-")
	if err != nil {
		return fmt.Errorf("terms: %w", err)
	}
	defer os.Remove(f.Name()) // linked by then, or of no use
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("terms: %w", err)
	}
	if err := os.Link(f.Name(), filepath.Join(dir, revisionName(r.Number))); err != nil {
		return fmt.Errorf("terms: revision %d: %w", r.Number, err)
	}
	return nil
}

// TakeUp is the set in force, once what hears more has been kept as a revision of
// its own: it needs nobody's second word, and is on record all the same.
func TakeUp(cfg *configs.Config, record policy.Sink) (*terms.Set, error) {
	set, packs, err := InForce(cfg)
	if err != nil {
		return set, err
	}
	last, number, err := newest(cfg)
	if err != nil || fingerprint(last) == fingerprint(packs) {
		return set, err
	}
	r := Revision{
		Number: number + 1, Time: time.Now(), By: "schoolgate", Reason: "taken up from the policy's folder: nothing in it hears less",
		Packs: packs, Fingerprint: fingerprint(packs), Changes: terms.Changes(last, packs),
	}
	act := policy.StaffAct(r.Time, r.By, "terms.save", r.subject(), r.Reason)
	if err := record.Record(&act); err != nil {
		return set, fmt.Errorf("terms: not recorded: %w", err)
	}
	return set, r.keep(cfg)
}
