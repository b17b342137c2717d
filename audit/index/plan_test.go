package index

import (
	"path/filepath"
	"strings"
	"testing"

	"schoolgate/audit"
)

// Every question a person asks is answered through an index, or by number within the
// bounds of the question: SQLite says so itself, for the very text that is run.
func TestPlans(t *testing.T) {
	b := newBox(t)
	last := writeDays(t, b, newDays(15_000), 30_000)
	b.rebuild(t, 0)
	x := b.open(t)
	list, err := x.survey()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range shapes(last) {
		for _, newest := range []bool{true, false} {
			q := s.q
			q.Newest = newest
			explain(t, x, list[0].file, s.name, &q)
		}
	}
}

func explain(t *testing.T, x *Index, h *head, name string, q *audit.Query) {
	t.Helper()
	d, err := x.open(t.Context(), h)
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	p, err := d.plan(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	if p.nothing {
		return
	}
	queries := []string{p.query("", 0)}
	if len(p.drivers) > 0 {
		queries = nil
		for _, c := range p.drivers {
			queries = append(queries, p.query(c.column, c.ids[0]))
		}
	}
	for _, query := range queries {
		rows, err := d.conn.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+query, p.after, p.before)
		if err != nil {
			t.Fatalf("%s: %s: %v", name, query, err)
		}
		for rows.Next() {
			var id, parent, unused int
			var detail string
			if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(detail, "SCAN") || strings.Contains(detail, "TEMP B-TREE") {
				t.Errorf("%s: %s\n%s", name, detail, query)
			}
		}
		if err := rows.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if len(p.drivers) == 0 && name != "everything, newest first" && name != "a site everybody asks for" {
		t.Errorf("%s is read by number", name)
	}
}

// A question of a file does not leave memory, handles or turns behind.
func TestSearchGivesBack(t *testing.T) {
	b := newBox(t)
	record(t, b.journal.Path, newSchool(5), 500)
	b.rebuild(t, 200)
	x := b.open(t)
	for range 20 {
		for range x.Search(t.Context(), audit.Query{Newest: true}, nil) {
			break // the caller has seen enough
		}
	}
	if len(x.files.files) != 0 || len(x.turns) != 0 {
		t.Errorf("%d files open, %d turns taken", len(x.files.files), len(x.turns))
	}
	open, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	if len(open) > 60 {
		t.Errorf("%d handles open", len(open))
	}
}
