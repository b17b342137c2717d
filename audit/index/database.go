package index

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"sync"
	"time"

	"schoolgate/audit"
	"schoolgate/policy"
)

// openFiles hands sealed files that were opened already to the driver, each by a
// name of its own and once.
type openFiles struct {
	mu    sync.Mutex
	next  uint64
	files map[string]*sealed
}

func (o *openFiles) put(s *sealed) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.files == nil {
		o.files = map[string]*sealed{}
	}
	o.next++
	name := "f" + strconv.FormatUint(o.next, 10)
	o.files[name] = s
	return name
}

func (o *openFiles) drop(name string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.files, name)
}

// Open is what the driver calls.
func (o *openFiles) Open(name string) (fs.File, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.files[name[strings.LastIndexByte(name, '/')+1:]]
	if s == nil {
		return nil, fs.ErrNotExist // a journal or a WAL, of which there is none
	}
	return s, nil
}

// database is a sealed file opened with SQLite.
type database struct {
	x    *Index
	s    *sealed
	name string
	db   *sql.DB
	conn *sql.Conn

	texts map[int64]string // names and texts read so far, as in the gram table
	rests map[int64]policy.Event
}

func openDatabase(ctx context.Context, x *Index, s *sealed) (_ *database, err error) {
	d := &database{x: x, s: s, name: x.files.put(s), texts: map[int64]string{}, rests: map[int64]policy.Event{}}
	// Sorting and the like must not look for a place on the disk (temp_store=2).
	d.db, err = sql.Open("sqlite", "file:"+d.name+"?vfs="+x.vfsName+"&mode=ro&immutable=1&_pragma=temp_store(2)&_pragma=cache_size(-1024)")
	if err == nil {
		d.conn, err = d.db.Conn(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, d.close())
	}
	return d, nil
}

// close gives everything back. The error of a damaged page is told by trouble.
func (d *database) close() (err error) {
	if d.conn != nil {
		err = d.conn.Close()
	}
	if d.db != nil {
		err = errors.Join(err, d.db.Close())
	}
	if d.conn == nil { // the driver closes only what it opened
		err = errors.Join(err, d.s.Close())
	}
	d.x.files.drop(d.name)
	return err
}

// trouble puts a damaged page in place of SQLite's own words on it.
func (d *database) trouble(err error) error {
	if err != nil && d.s.bad != nil {
		return d.s.bad
	}
	return err
}

// text is a name or a text by its number in the gram table.
func (d *database) text(ctx context.Context, gram int64) (string, error) {
	if s, ok := d.texts[gram]; ok {
		return s, nil
	}
	table := "name"
	if gram%2 == 1 {
		table = "long"
	}
	var kind int
	var text string
	err := d.conn.QueryRowContext(ctx, "SELECT kind, text FROM "+table+" WHERE id=?", gram/2).Scan(&kind, &text)
	if err != nil {
		return "", fmt.Errorf("%s %d: %w", table, gram/2, err)
	}
	text = asWritten(kind, text)
	d.texts[gram] = text
	return text, nil
}

func (d *database) rest(ctx context.Context, id int64) (policy.Event, error) {
	if e, ok := d.rests[id]; ok {
		return e, nil
	}
	var b []byte
	if err := d.conn.QueryRowContext(ctx, "SELECT event FROM rest WHERE id=?", id).Scan(&b); err != nil {
		return policy.Event{}, fmt.Errorf("rest %d: %w", id, err)
	}
	e, ok := audit.Decode(b)
	if !ok {
		return e, fmt.Errorf("%w: remainder %d", ErrDamaged, id)
	}
	d.rests[id] = e
	return e, nil
}

// row is a row of events as it lies there: references, not yet an event.
type row struct {
	id, t int64
	size  sql.NullInt64
	rest  int64
	names [len(columns)]sql.NullInt64
	texts [2]sql.NullInt64
}

var rowFields = func() string {
	fields := []string{"id", "t", "size", "rest"}
	for _, c := range columns {
		fields = append(fields, c.name)
	}
	return strings.Join(append(fields, "path", "words"), ", ")
}()

func (r *row) into() []any {
	to := []any{&r.id, &r.t, &r.size, &r.rest}
	for i := range r.names {
		to = append(to, &r.names[i])
	}
	return append(to, &r.texts[0], &r.texts[1])
}

// event is the row's event, as the journal has it.
func (d *database) event(ctx context.Context, r *row) (e policy.Event, err error) {
	if e, err = d.rest(ctx, r.rest); err != nil {
		return e, err
	}
	e.ID, e.Time, e.Size = policy.EventID(r.id), time.Unix(0, r.t).UTC(), r.size.Int64
	for i, to := range map[int]*string{
		colClient: &e.Client, colDevice: &e.Device, colPerson: &e.Person, colGroup: &e.Group, colProfile: &e.Profile,
		colHost: &e.Host, colTheme: &e.Theme, colTerm: &e.Term,
	} {
		if !r.names[i].Valid {
			continue
		}
		if *to, err = d.text(ctx, 2*r.names[i].Int64); err != nil {
			return e, err
		}
	}
	for i, to := range []*string{&e.Path, &e.Words} {
		if !r.texts[i].Valid {
			continue
		}
		if *to, err = d.text(ctx, 2*r.texts[i].Int64+1); err != nil {
			return e, err
		}
	}
	return e, nil
}
