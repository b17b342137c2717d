package incidents

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"schoolgate/policy"
)

// store is a journal in memory; it can be told to fail.
type store struct {
	events []policy.Event
	fail   error
}

func (s *store) Record(e *policy.Event) error {
	if s.fail != nil {
		return s.fail
	}
	e.ID = policy.EventID(len(s.events) + 1)
	s.events = append(s.events, *e)
	return nil
}

func (s *store) all() iter.Seq2[policy.Event, error] {
	return func(yield func(policy.Event, error) bool) {
		for _, e := range s.events {
			if !yield(e, nil) {
				return
			}
		}
	}
}

func register(s *store) *Register { return Read(s.all(), s) }

func do(t *testing.T, r *Register, c Command) Incident {
	t.Helper()
	if c.By == "" {
		c.By = "A DSL"
	}
	if c.Role == "" {
		c.Role = RoleDSL
	}
	i, err := r.Do(c)
	if err != nil {
		t.Fatalf("%s %s: %v", c.Act, c.Ref, err)
	}
	return i
}

func refused(t *testing.T, r *Register, c Command, says string) {
	t.Helper()
	if c.By == "" {
		c.By = "A DSL"
	}
	if c.Role == "" {
		c.Role = RoleDSL
	}
	if _, err := r.Do(c); err == nil || !strings.Contains(err.Error(), says) {
		t.Errorf("%s %s: %v, want it refused with %q", c.Act, c.Ref, err, says)
	}
}

func open(kind Kind, f Facts) Command {
	return Command{Act: ActOpen, Change: Change{Kind: kind, Source: SourceForm, Facts: &f}}
}

// An incident goes its whole way, and is not closed a task too early (R20 to R23,
// R27, R29, R38).
func TestWholeWay(t *testing.T) {
	r := register(&store{})
	i := do(t, r, open("illegal_content", Facts{Event: 7, Time: time.Now(), Sealed: true, Device: "tablet-7"}))
	ref := i.Ref()
	if ref != "IN-1" || i.Status != New {
		t.Fatalf("%s %s", ref, i.Status)
	}
	on := func(act string, c Change) Command { return Command{Act: act, Ref: ref, Change: c} }
	refused(t, r, open("illegal_content", Facts{Event: 7}), "IN-1 was opened of SG-7 already")
	refused(t, r, on(ActClose, Change{}), "nobody has said yet")
	do(t, r, on(ActTriage, Change{}))
	refused(t, r, on(ActClose, Change{}), "police")
	refused(t, r, on(ActReport, Change{Task: Police}), "reference number")
	refused(t, r, on(ActReport, Change{Task: Parents, Number: "1"}), "unknown agency")
	do(t, r, on(ActReport, Change{Task: Police, Number: "CAD 123"}))
	do(t, r, on(ActReport, Change{Task: IWF, Number: "IWF-9"}))
	do(t, r, on(ActEscalate, Change{To: "the Headteacher"}))
	refused(t, r, on(ActTask, Change{Task: "tea"}), "unknown task")
	do(t, r, on(ActTask, Change{Task: Quarantine, Text: "in the safe"}))
	refused(t, r, on(ActTask, Change{Task: Evidence, Waived: true, Text: "no"}), "say why")
	do(t, r, on(ActTask, Change{Task: Evidence, Waived: true, Text: "the police took the device itself"}))
	refused(t, r, on(ActTask, Change{Task: Parents}), "which day")
	do(t, r, on(ActHold, Change{Text: "DC Example asked for silence"}))
	refused(t, r, on(ActTask, Change{Task: Parents, On: "2024-11-28"}), "police asked for silence")
	refused(t, r, on(ActTask, Change{Task: Lessons, Text: "x"}), "what was changed")
	refused(t, r, on(ActTask, Change{Task: DPO, On: "2199-01-01"}), "still to come")
	refused(t, r, on(ActReport, Change{Task: CEOP, Number: "7", On: "2199-01-01"}), "still to come")
	do(t, r, on(ActTask, Change{Task: Lessons, Text: "supervise searches", Changed: "policy.yaml: images off for KS2"}))
	refused(t, r, on(ActClose, Change{}), "police asked for silence")
	refused(t, r, on(ActRelease, Change{Text: "DC Example agreed", Second: "a  dsl"}), "two different people")
	do(t, r, on(ActRelease, Change{Text: "DC Example agreed", Second: "A Head"}))
	refused(t, r, on(ActClose, Change{}), "parents")
	do(t, r, on(ActTask, Change{Task: Parents, On: "2024-11-28"}))
	i = do(t, r, on(ActClose, Change{Text: "done"}))
	if i.Status != Closed || len(i.Open()) != 0 {
		t.Errorf("%s, open %v", i.Status, i.Open())
	}
	refused(t, r, on(ActTriage, Change{Kind: Other}), "is closed")
	if i = do(t, r, on(ActNote, Change{Text: "a letter came back"})); i.Status != Closed {
		t.Error("a note opened it again")
	}
}

// Who may see what: staff-subject incidents are the Head's and the chair's, the
// Head's own the chair's alone, IT sees none; what one may not see does not exist (R36).
func TestRoles(t *testing.T) {
	r := register(&store{})
	pupil := do(t, r, open("bullying", Facts{}))
	staff := do(t, r, open(StaffMisuse, Facts{})) // anybody may report it
	head := open(Other, Facts{})
	head.Subject = Head
	about := do(t, r, head)
	for role, want := range map[Role][]string{
		RoleDSL: {pupil.Ref()}, RoleHead: {pupil.Ref(), staff.Ref()}, RoleChair: {staff.Ref(), about.Ref()},
		"it": nil, "": nil, rolePage: nil,
	} {
		var got []string
		for _, i := range r.List(role) {
			got = append(got, i.Ref())
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q sees %v, want %v", role, got, want)
		}
		for _, i := range []Incident{pupil, staff, about} {
			_, err := r.Get(i.Ref(), role)
			if sees := slices.Contains(want, i.Ref()); (err == nil) != sees || !sees && !errors.Is(err, ErrUnknown) {
				t.Errorf("%q reads %s: %v", role, i.Ref(), err)
			}
			_, err = r.Do(Command{Act: ActNote, Ref: i.Ref(), By: "X", Role: role, Change: Change{Text: "a note"}})
			if sees := slices.Contains(want, i.Ref()); (err == nil) != sees {
				t.Errorf("%q writes to %s: %v", role, i.Ref(), err)
			}
		}
	}
	do(t, r, Command{Act: ActTriage, Ref: pupil.Ref(), Change: Change{Kind: StaffMisuse}})
	if list := r.List(RoleDSL); len(list) != 0 {
		t.Error("what turned out to be about staff is still the DSL's")
	}
	for _, s := range []string{"it", "", "page", "DSL"} {
		if _, err := ParseRole(s); err == nil {
			t.Errorf("role %q", s)
		}
	}
}

func TestBounds(t *testing.T) {
	s := &store{}
	r := register(s)
	i := do(t, r, open(Other, Facts{}))
	note := func(text string) Command {
		return Command{Act: ActNote, Ref: i.Ref(), Change: Change{Text: text}}
	}
	refused(t, r, note(strings.Repeat("x", MaxText+1)), "at most 2000")
	refused(t, r, note("  "), "nothing to note")
	refused(t, r, Command{Act: ActNote, Ref: i.Ref(), By: "a\nb", Change: Change{Text: "x"}}, "one line")
	refused(t, r, Command{Act: ActNote, Ref: "IN-ZZ", Change: Change{Text: "x"}}, "no such incident")
	refused(t, r, Command{Act: ActNote, Ref: "SG-1", Change: Change{Text: "x"}}, "bad reference")
	refused(t, r, open("mischief", Facts{}), "unknown kind")
	refused(t, r, open(Told, Facts{}), "say what it is about")
	refused(t, r, open("", Facts{}), "say what it is about: --kind")
	shown := do(t, r, note("=1 \x1b[31mred\u202e\u009b1m"))
	if got := shown.Steps[len(shown.Steps)-1].Text; got != "=1 [31mred1m" {
		t.Errorf("a note that acts on a screen is kept as %q", got) // T13
	}
	do(t, r, note(strings.Repeat("ü", MaxText)))
	s.fail = errors.New("disk full")
	refused(t, r, note("lost"), "disk full")
	if got, err := r.Get(i.Ref(), RoleDSL); err != nil || len(got.Steps) != 3 {
		t.Errorf("a step that is not on disk was taken: %d steps, %v", len(got.Steps), err)
	}
	big := Facts{URL: strings.Repeat("x", 9000)}
	s.fail = nil
	refused(t, r, open(Other, big), "more than a record holds")
}

// The register is what a plain model of it is, whatever is asked for in whatever
// order, across restarts, and across crashes that lose a step nobody was told was done.
func TestAgainstModel(t *testing.T) {
	type plain struct {
		status Status
		kind   Kind
		done   map[Task]bool
		held   bool
		steps  int
	}
	acts := []string{ActOpen, ActTriage, ActEscalate, ActReport, ActTask, ActTask, ActTask, ActNote, ActHold, ActRelease, ActClose}
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 1))
		s := &store{}
		r := register(s)
		model := map[string]*plain{}
		var refs []string
		for range 150 {
			if rng.IntN(15) == 0 { // the power goes; what was acknowledged is in the store
				r = register(s)
			}
			crash := rng.IntN(12) == 0
			if s.fail = nil; crash {
				s.fail = errors.New("the power went")
			}
			c := Command{Act: acts[rng.IntN(len(acts))], By: "A", Role: RoleHead}
			c.Kind = kinds[1+rng.IntN(len(kinds)-1)].kind
			c.Task, c.Waived = tasks[rng.IntN(len(tasks))].task, rng.IntN(3) == 0
			c.Text, c.Changed, c.On, c.Number, c.To, c.Second = "a text long enough", "nothing", "2024-11-28", "7", "somebody", "B"
			if c.Act != ActOpen {
				if len(refs) == 0 {
					continue
				}
				c.Ref, c.Source = refs[rng.IntN(len(refs))], ""
			} else {
				c.Source = SourceForm
			}
			m := model[c.Ref]
			may := !crash
			if m != nil {
				agency := c.Task.about().agency
				settled := true
				for _, task := range m.kind.required() {
					settled = settled && m.done[task]
				}
				switch c.Act {
				case ActReport:
					may = may && agency
				case ActTask:
					may = may && !(c.Task == Parents && m.held)
				case ActHold:
					may = may && !m.held
				case ActRelease:
					may = may && m.held
				case ActClose:
					may = may && m.status != New && !m.held && settled
				}
				may = may && (m.status != Closed || c.Act == ActNote)
			}
			i, err := r.Do(c)
			if (err == nil) != may {
				t.Fatalf("seed %d: %s of %+v: %v, the model says %v", seed, c.Act, m, err, may)
			}
			if err != nil {
				continue
			}
			if c.Act == ActOpen {
				m = &plain{kind: c.Kind, done: map[Task]bool{}}
				model[i.Ref()] = m
				refs = append(refs, i.Ref())
			}
			m.steps++
			switch c.Act {
			case ActTriage:
				m.kind, m.status = c.Kind, max(m.status, Triaged)
			case ActEscalate:
				m.status = max(m.status, Escalated)
			case ActReport:
				m.done[c.Task], m.status = true, max(m.status, Reported)
			case ActTask:
				m.done[c.Task] = true
			case ActHold, ActRelease:
				m.held = c.Act == ActHold
			case ActClose:
				m.status = Closed
			}
		}
		s.fail = nil
		again := register(s)
		for ref, m := range model {
			for name, r := range map[string]*Register{"as it is": r, "read anew": again} {
				i := r.all[mustRef(t, ref)]
				done := map[Task]bool{}
				for task := range i.Tasks {
					done[task] = true
				}
				if i.Status != m.status || i.Kind != m.kind || i.Held != m.held || len(i.Steps) != m.steps || !reflect.DeepEqual(done, m.done) {
					t.Fatalf("seed %d: %s %s = %s %s held %v, %d steps, %v; want %+v", seed, ref, name, i.Status, i.Kind, i.Held, len(i.Steps), done, m)
				}
			}
		}
	}
}

func mustRef(t *testing.T, s string) policy.EventID {
	t.Helper()
	id, err := ParseRef(s)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// What cannot be read is said, and hides nothing else.
func TestGaps(t *testing.T) {
	s := &store{}
	r := register(s)
	do(t, r, open(Other, Facts{}))
	do(t, r, open("bullying", Facts{}))
	do(t, r, Command{Act: ActNote, Ref: "IN-1", Change: Change{Text: "x"}})
	s.events[0].Note = "{broken"
	r = register(s)
	if list := r.List(RoleDSL); len(list) != 1 || list[0].Ref() != "IN-2" {
		t.Errorf("%+v", list)
	}
	if err := r.Gaps(); err == nil || !strings.Contains(err.Error(), "event SG-1") || !strings.Contains(err.Error(), "IN-1, whose opening cannot be read") {
		t.Errorf("gaps: %v", err)
	}
}

// The forms hold everything and nothing that acts: no script, no link, no formula.
func TestForms(t *testing.T) {
	r := register(&store{})
	nasty := `=HYPERLINK("http://evil.example")<script>alert(1)</script>`
	i := do(t, r, Command{Act: ActOpen, By: nasty, Change: Change{Kind: "bullying", Source: SourceForm, Text: nasty, Facts: &Facts{
		Event: 7, Time: time.Date(2026, 11, 24, 10, 15, 0, 0, time.UTC), URL: "https://www.wrong.example/page.html", Device: nasty, Verdict: "block",
	}}})
	page, err := i.FormHTML("Millbrook <b>", time.UTC, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	doc, err := html.Parse(bytes.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	for n := range doc.Descendants() {
		if n.Type == html.ElementNode && slices.Contains([]string{"script", "a", "img", "link", "iframe", "form", "b"}, n.Data) {
			t.Errorf("the form holds <%s>", n.Data)
		}
	}
	if !strings.Contains(string(page), "hxxps://www[.]wrong[.]example/page.html") || strings.Contains(string(page), "https://www.wrong") {
		t.Errorf("the address is not defanged:\n%s", page)
	}
	text, err := i.FormCSV(time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(bytes.NewReader(text)).ReadAll()
	if err != nil || len(rows) < 5 {
		t.Fatalf("%v, %d rows", err, len(rows))
	}
	for _, row := range rows {
		for _, cell := range row {
			if cell != "" && strings.ContainsRune("=+-@", rune(cell[0])) {
				t.Errorf("a formula: %q", cell)
			}
		}
	}
	letter, err := i.Letter("Millbrook Primary", time.UTC)
	if err != nil || !strings.Contains(letter, "Tuesday 24 November 2026") || strings.Contains(letter, "wrong") {
		t.Errorf("%v\n%s", err, letter)
	}
	do(t, r, Command{Act: ActHold, Ref: i.Ref(), Change: Change{Text: "police"}})
	held, err := r.Get(i.Ref(), RoleDSL)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := held.Letter("", time.UTC); err == nil {
		t.Error("a letter to parents while the police ask for silence")
	}
	if page, err := held.FormHTML("", time.UTC, time.Now()); err != nil || !strings.Contains(string(page), "Do not tell the parents") {
		t.Errorf("the form does not say that it is held: %v", err)
	}
}

// A sealed address opens with both keys and with no less, and comes out so that
// nobody opens it by a slip (F7).
func TestSeal(t *testing.T) {
	type pair struct {
		public string
		key    *Key
	}
	person := func(pass string) pair {
		t.Helper()
		public, file, err := newKey(pass, 10)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(file, []byte("AGE-SECRET-KEY")) {
			t.Fatal("the key file holds the key in clear")
		}
		if _, err := OpenKey(file, pass+"x"); err == nil {
			t.Error("another passphrase opens the key")
		}
		key, err := OpenKey(file, pass)
		if err != nil {
			t.Fatal(err)
		}
		return pair{public, key}
	}
	dsl, head := person("four words of the dsl"), person("four words of the head")
	if _, _, err := NewKey("short"); err == nil {
		t.Error("a short passphrase")
	}
	seal, err := ParseSeal(dsl.public, head.public)
	if err != nil {
		t.Fatal(err)
	}
	address := "https://sealed.example/bad.jpg?x=http://y.example"
	blob, err := seal.Close(address)
	if err != nil || bytes.Contains(blob, []byte("sealed")) {
		t.Fatalf("%v, %q", err, blob)
	}
	if got, err := Open(blob, dsl.key, head.key); err != nil || got != "hxxps://sealed[.]example/bad.jpg?x=http://y.example" {
		t.Errorf("%s, %v", got, err)
	}
	for name, k := range map[string][2]*Key{"the DSL alone": {dsl.key, dsl.key}, "the Head alone": {head.key, head.key}, "the wrong way round": {head.key, dsl.key}} {
		if got, err := Open(blob, k[0], k[1]); err == nil {
			t.Errorf("%s opened it: %s", name, got)
		}
	}
	for n := range blob {
		bad := bytes.Clone(blob)
		bad[n] ^= 1
		if got, err := Open(bad, dsl.key, head.key); err == nil && got != Defang(address) {
			t.Fatalf("byte %d flipped: %s", n, got)
		}
	}
	if _, err := ParseSeal(dsl.public, dsl.public); err == nil {
		t.Error("one person as both")
	}
	if long, err := seal.Close("https://x.example/" + strings.Repeat("y", 1<<20)); err != nil || len(long) > 4000 {
		t.Errorf("a long address: %d bytes, %v", len(long), err)
	}
	if s := fmt.Sprint(Defang("x\x1b[1m.example")); strings.ContainsRune(s, 0x1b) {
		t.Errorf("%q", s)
	}
}
