package index

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	_ "modernc.org/sqlite" // the driver

	"schoolgate/audit"
	"schoolgate/policy"
)

// column is a column of events that refers to a name, and may be asked for.
type column struct {
	name    string
	indexed bool // else it is read by number, as it has few values
	seldom  bool // most events have none
	of      func(*policy.Event) string
}

// columns are the names of an event. What an index costs, about nine bytes an
// event, is in the decision.
var columns = [...]column{
	colClient:   {"client", true, false, func(e *policy.Event) string { return e.Client }},
	colDevice:   {"device", true, false, func(e *policy.Event) string { return e.Device }},
	colPerson:   {"person", true, true, func(e *policy.Event) string { return e.Person }},
	colGroup:    {"grp", true, false, func(e *policy.Event) string { return e.Group }},
	colProfile:  {"profile", false, false, func(e *policy.Event) string { return e.Profile }},
	colHost:     {"host", true, false, func(e *policy.Event) string { return reversed(e.Host) }},
	colTheme:    {"theme", true, true, func(e *policy.Event) string { return e.Theme }},
	colTerm:     {"term", true, true, func(e *policy.Event) string { return e.Term }},
	colCategory: {"category", true, true, categoryName},
	colSeverity: {"severity", true, true, severityName},
	colVerdict:  {"verdict", true, true, verdictName},
	colUse:      {"use", false, true, func(e *policy.Event) string { return e.Use.String() }},
}

const (
	colClient = iota
	colDevice
	colPerson
	colGroup
	colProfile
	colHost
	colTheme
	colTerm
	colCategory
	colSeverity
	colVerdict
	colUse

	// texts are columns of long texts that are seldom the same twice.
	colPath
	colWords
	colOdd // a finding, or what a member of staff did
)

func categoryName(e *policy.Event) string {
	if e.Category == policy.Uncategorised {
		return ""
	}
	return e.Category.String()
}

func severityName(e *policy.Event) string {
	if e.Severity == 0 {
		return ""
	}
	return strconv.Itoa(int(e.Severity))
}

// verdictName is "" for allow, which most are.
func verdictName(e *policy.Event) string {
	if e.Verdict == policy.Allow {
		return ""
	}
	return e.Verdict.String()
}

var texts = [...]struct {
	name string
	of   func(*policy.Event) string
}{
	{"path", func(e *policy.Event) string { return e.Path }},
	{"words", func(e *policy.Event) string { return e.Words }},
}

// remainder is what of an event is neither a name nor a text nor its own number,
// time and size. A school day has a few hundred different ones.
func remainder(e *policy.Event) policy.Event {
	r := *e
	r.ID, r.Time, r.Size = 0, time.Time{}, 0
	r.Client, r.Device, r.Person, r.Group, r.Profile, r.Host = "", "", "", "", "", ""
	r.Theme, r.Term, r.Path, r.Words = "", "", "", ""
	return r
}

// odd reports whether a remainder holds what somebody may look for by its text.
func odd(r *policy.Event) bool { return r.Finding != "" || r.Act != "" }

// searchable is the text of a remainder, as the journal searches it.
func searchable(r *policy.Event) string {
	return strings.Join([]string{r.Rule, r.Finding, r.Act, r.Subject, r.Note}, "\n")
}

const schema = `
PRAGMA page_size=4096;
PRAGMA journal_mode=OFF;
PRAGMA synchronous=OFF;
PRAGMA temp_store=MEMORY;
PRAGMA locking_mode=EXCLUSIVE;
CREATE TABLE event(id INTEGER PRIMARY KEY, t INTEGER NOT NULL, size INTEGER, rest INTEGER NOT NULL,
	%s, path INTEGER, words INTEGER, odd INTEGER);
CREATE TABLE name(id INTEGER PRIMARY KEY, kind INTEGER NOT NULL, text TEXT NOT NULL, events INTEGER NOT NULL);
CREATE TABLE long(id INTEGER PRIMARY KEY, kind INTEGER NOT NULL, text TEXT NOT NULL, events INTEGER NOT NULL);
CREATE TABLE rest(id INTEGER PRIMARY KEY, event BLOB NOT NULL, events INTEGER NOT NULL);
CREATE TABLE stretch(first INTEGER PRIMARY KEY, last INTEGER NOT NULL, min INTEGER NOT NULL, max INTEGER NOT NULL);
CREATE VIRTUAL TABLE gram USING fts5(text, content='', columnsize=0, detail=none, tokenize='trigram case_sensitive 1');
`

// stretchOf is how many events share an entry of the table by which times are
// turned into numbers.
const stretchOf = 1024

type nameKey struct {
	kind int
	text string
}

// ref is a name, a text or a remainder in the making.
type ref struct{ id, events int64 }

// width is how many fields a row of events has.
const width = 4 + len(columns) + len(texts) + 1

// rowsAtOnce is how many rows one statement puts in. A statement costs as much by itself
// as two rows do.
const rowsAtOnce = 32

// builder is a database in memory to which events are added.
type builder struct {
	db     *sql.DB
	conn   *sql.Conn
	insert *sql.Stmt // of rowsAtOnce rows
	args   []any     // of rows that are still to be put in

	names map[nameKey]*ref
	longs map[nameKey]*ref
	rests map[policy.Event]*ref

	head    head
	stretch struct{ first, last, min, max int64 }
	spans   [][4]int64
}

func newBuilder(ctx context.Context) (_ *builder, err error) {
	b := &builder{names: map[nameKey]*ref{}, longs: map[nameKey]*ref{}, rests: map[policy.Event]*ref{}}
	if b.db, err = sql.Open("sqlite", ":memory:"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.close())
		}
	}()
	if b.conn, err = b.db.Conn(ctx); err != nil {
		return nil, err
	}
	var fields []string
	for _, c := range columns {
		fields = append(fields, c.name+" INTEGER")
	}
	if _, err = b.conn.ExecContext(ctx, fmt.Sprintf(schema, strings.Join(fields, ", "))+"BEGIN"); err != nil {
		return nil, err
	}
	b.args = make([]any, 0, rowsAtOnce*width)
	b.insert, err = b.conn.PrepareContext(ctx, insertRows(rowsAtOnce))
	return b, err
}

// insertRows is the statement that puts n rows in.
func insertRows(n int) string {
	row := ",(?" + strings.Repeat(",?", width-1) + ")"
	return "INSERT INTO event VALUES" + strings.Repeat(row, n)[1:]
}

// close gives the memory back. The statement goes before the database, or its
// memory stays taken.
func (b *builder) close() (err error) {
	if b.insert != nil {
		err = b.insert.Close()
	}
	if b.conn != nil {
		err = errors.Join(err, b.conn.Close())
	}
	return errors.Join(err, b.db.Close())
}

// add puts one event in. Numbers must grow.
func (b *builder) add(ctx context.Context, e *policy.Event) error {
	t := e.Time.UnixNano()
	b.span(int64(e.ID), t)
	rest := remainder(e)
	r := b.rests[rest]
	if r == nil {
		r = &ref{id: int64(len(b.rests) + 1)}
		b.rests[cloned(rest)] = r
	}
	r.events++
	args := append(b.args, int64(e.ID), t, nullable(e.Size), r.id)
	for i := range columns {
		args = append(args, count(b.names, i, columns[i].of(e)))
	}
	for i := range texts {
		args = append(args, count(b.longs, colPath+i, texts[i].of(e)))
	}
	if odd(&rest) {
		args = append(args, r.id)
	} else {
		args = append(args, nil)
	}
	if b.args = args; len(args) < rowsAtOnce*width {
		return nil
	}
	// The driver starts a goroutine to watch a context that can end.
	if _, err := b.insert.ExecContext(context.WithoutCancel(ctx), args...); err != nil {
		return fmt.Errorf("events up to %s: %w", e.ID, err)
	}
	b.args = args[:0]
	return nil
}

// putLast puts the rows in that did not make a whole statement.
func (b *builder) putLast(ctx context.Context) error {
	if len(b.args) == 0 {
		return nil
	}
	if _, err := b.conn.ExecContext(ctx, insertRows(len(b.args)/width), b.args...); err != nil {
		return fmt.Errorf("the last events: %w", err)
	}
	b.args = b.args[:0]
	return nil
}

func nullable(n int64) any {
	if n == 0 {
		return nil
	}
	return n
}

// count notes one use of a text and gives its number, nil for "".
func count(in map[nameKey]*ref, kind int, text string) any {
	if text == "" {
		return nil
	}
	r := in[nameKey{kind, text}]
	if r == nil {
		r = &ref{id: int64(len(in) + 1)}
		in[nameKey{kind, strings.Clone(text)}] = r // the event's strings share a whole frame
	}
	r.events++
	return r.id
}

// cloned is a remainder with strings of its own.
func cloned(r policy.Event) policy.Event {
	for _, s := range []*string{
		&r.Method, &r.Rule, &r.Finding, &r.Type, &r.Act, &r.Subject, &r.Note, &r.PolicyVersion,
	} {
		*s = strings.Clone(*s)
	}
	return r
}

// span takes note of an event's number and time.
func (b *builder) span(id, t int64) {
	h := &b.head
	if h.Events == 0 {
		h.Min, h.Max = t, t
	}
	h.Min, h.Max = min(h.Min, t), max(h.Max, t)
	s := &b.stretch
	if h.Events%stretchOf == 0 {
		if h.Events > 0 {
			b.spans = append(b.spans, [4]int64{s.first, s.last, s.min, s.max})
		}
		s.first, s.min, s.max = id, t, t
	}
	s.last, s.min, s.max = id, min(s.min, t), max(s.max, t)
	h.Events++
}

// bytes finishes the database: its names, its indexes, and a check of it all.
func (b *builder) bytes(ctx context.Context) ([]byte, error) {
	if b.head.Events > 0 {
		s := &b.stretch
		b.spans = append(b.spans, [4]int64{s.first, s.last, s.min, s.max})
	}
	for _, step := range []func(context.Context) error{b.putLast, b.putNames, b.putRests, b.putSpans, b.index, b.check} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	var out []byte
	err := b.conn.Raw(func(c any) (err error) {
		out, err = c.(interface{ Serialize() ([]byte, error) }).Serialize()
		return err
	})
	if err == nil && len(out)%pageSize != 0 {
		err = fmt.Errorf("database of %d bytes is not made of whole pages", len(out))
	}
	return out, err
}

// putNames writes the names and texts. The gram table holds them in small
// letters, a name under twice its number and a text under the odd one after.
func (b *builder) putNames(ctx context.Context) error {
	if _, err := b.conn.ExecContext(ctx, "INSERT INTO gram(gram, rank) VALUES('hashsize', 8388608)"); err != nil {
		return err
	}
	gram, err := b.conn.PrepareContext(ctx, "INSERT INTO gram(rowid, text) VALUES(?,?)")
	if err != nil {
		return err
	}
	defer gram.Close()
	for i, table := range []string{"name", "long"} {
		put, err := b.conn.PrepareContext(ctx, "INSERT INTO "+table+" VALUES(?,?,?,?)")
		if err != nil {
			return err
		}
		err = inOrder([]map[nameKey]*ref{b.names, b.longs}[i], func(k nameKey, r *ref) error {
			if _, err := put.ExecContext(ctx, r.id, k.kind, k.text, r.events); err != nil || !textual(k.kind) {
				return err
			}
			_, err := gram.ExecContext(ctx, 2*r.id+int64(i), gramText(asWritten(k.kind, k.text)))
			return err
		})
		if err := errors.Join(err, put.Close()); err != nil {
			return fmt.Errorf("table %s: %w", table, err)
		}
	}
	return nil
}

// inOrder goes through names by number: FTS5 writes out all it has gathered when
// numbers do not grow.
func inOrder(names map[nameKey]*ref, each func(nameKey, *ref) error) error {
	keys := make([]nameKey, len(names))
	for k, r := range names {
		keys[r.id-1] = k
	}
	for _, k := range keys {
		if err := each(k, names[k]); err != nil {
			return err
		}
	}
	return nil
}

// gramText is a text as the gram table knows it: in small letters as the journal
// compares them, and without the NUL that ends texts for SQLite.
func gramText(s string) string { return strings.ReplaceAll(strings.ToLower(s), "\x00", "\x01") }

// textual reports whether the journal's text search looks into a kind.
func textual(kind int) bool {
	switch kind {
	case colHost, colDevice, colPerson, colTerm, colPath, colWords:
		return true
	}
	return false
}

// asWritten is a name as the event has it.
func asWritten(kind int, text string) string {
	if kind == colHost {
		return reversed(text)
	}
	return text
}

func (b *builder) putRests(ctx context.Context) error {
	for rest, r := range b.rests {
		if _, err := b.conn.ExecContext(ctx, "INSERT INTO rest VALUES(?,?,?)", r.id, audit.Encode(&rest), r.events); err != nil {
			return err
		}
	}
	return nil
}

func (b *builder) putSpans(ctx context.Context) error {
	for _, s := range b.spans {
		if _, err := b.conn.ExecContext(ctx, "INSERT INTO stretch VALUES(?,?,?,?)", s[0], s[1], s[2], s[3]); err != nil {
			return err
		}
	}
	return nil
}

// index makes the indexes, once, when all rows are there.
func (b *builder) index(ctx context.Context) error {
	steps := []string{"CREATE INDEX name_text ON name(kind, text)", "INSERT INTO gram(gram) VALUES('optimize')"}
	add := func(name string, seldom bool) {
		where := ""
		if seldom {
			where = " WHERE " + name + " IS NOT NULL"
		}
		steps = append(steps, "CREATE INDEX event_"+name+" ON event("+name+")"+where)
	}
	for _, c := range columns {
		if c.indexed {
			add(c.name, c.seldom)
		}
	}
	for _, name := range []string{"path", "words", "odd"} {
		add(name, true)
	}
	for _, step := range append(steps, "COMMIT") {
		if _, err := b.conn.ExecContext(ctx, step); err != nil {
			return fmt.Errorf("%s: %w", step, err)
		}
		pace(ctx)
	}
	return nil
}

// check asks SQLite itself whether the database is sound, before anybody relies
// on it, and counts.
func (b *builder) check(ctx context.Context) error {
	var said string
	var n int
	err := b.conn.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&said)
	if err == nil {
		err = b.conn.QueryRowContext(ctx, "SELECT count(*) FROM event").Scan(&n)
	}
	if err == nil && (said != "ok" || n != b.head.Events) {
		err = fmt.Errorf("new index file: %d rows of %d, check says %q", n, b.head.Events, said)
	}
	return err
}

// pace leaves the processor to requests for a moment.
func pace(ctx context.Context) {
	t := time.NewTimer(2 * time.Millisecond)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
