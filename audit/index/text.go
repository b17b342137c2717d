package index

import (
	"context"
	"fmt"
	"strings"

	"schoolgate/audit"
)

// maxGrams bounds what of a long text is looked up; all of it is compared.
const maxGrams = 12

// planText finds the names and texts that hold a text, by the three-letter pieces
// they are made of. Where the text is in what most events share, such as the name of
// a policy file, rows are read by number.
func (d *database) planText(ctx context.Context, text string, p *plan) error {
	text = strings.ToLower(text)
	common, oddIDs, err := d.restsWith(ctx, text)
	if err != nil {
		return err
	}
	if common {
		return nil // every row is compared, by number or by what else the query names
	}
	found, err := d.textsWith(ctx, text)
	if err != nil {
		return err
	}
	if oddIDs != nil {
		found["odd"] = *oddIDs
	}
	var drivers []choice
	var conditions []string
	var events, ids int64
	for _, column := range []string{"client", "device", "person", "host", "term", "path", "words", "odd"} {
		c, ok := found[column]
		if !ok {
			continue
		}
		drivers = append(drivers, c)
		conditions = append(conditions, c.condition())
		events, ids = events+c.events, ids+int64(len(c.ids))
	}
	if len(drivers) == 0 {
		p.nothing = true
		return nil
	}
	if ids > maxIDs {
		return nil
	}
	p.where = append(p.where, "("+strings.Join(conditions, " OR ")+")")
	if len(p.drivers) == 0 || events < p.drivers[0].events {
		p.drivers = drivers
	}
	return nil
}

// restsWith looks through the remainders: whether one that holds the text is
// shared by ordinary events, and which of the odd ones hold it.
func (d *database) restsWith(ctx context.Context, text string) (common bool, found *choice, err error) {
	rows, err := d.conn.QueryContext(ctx, "SELECT id, event, events FROM rest")
	if err != nil {
		return false, nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var id, events int64
		var b []byte
		if err := rows.Scan(&id, &b, &events); err != nil {
			return false, nil, err
		}
		r, ok := audit.Decode(b)
		if !ok {
			return false, nil, fmt.Errorf("%w: remainder %d", ErrDamaged, id)
		}
		if !strings.Contains(strings.ToLower(searchable(&r)), text) {
			continue
		}
		if !odd(&r) {
			return true, nil, nil
		}
		if found == nil {
			found = &choice{column: "odd"}
		}
		found.ids, found.events = append(found.ids, id), found.events+events
	}
	return false, found, rows.Err()
}

// textsWith looks up names and texts, by column.
func (d *database) textsWith(ctx context.Context, text string) (map[string]choice, error) {
	found := map[string]choice{}
	grams := grams(gramText(text))
	var ids [2][]int64
	if grams != "" {
		rows, err := d.conn.QueryContext(ctx, "SELECT rowid FROM gram WHERE gram MATCH ?", grams)
		if err != nil {
			return nil, err
		}
		defer rows.Close()
		for rows.Next() {
			var id int64
			if err := rows.Scan(&id); err != nil {
				return nil, err
			}
			ids[id%2] = append(ids[id%2], id/2)
		}
		if err := rows.Err(); err != nil {
			return nil, err
		}
	}
	for i, table := range []string{"name", "long"} {
		where := ""
		if grams != "" {
			if len(ids[i]) == 0 {
				continue
			}
			where = " WHERE id IN (" + joined(ids[i]) + ")"
		}
		if err := d.textsOf(ctx, "SELECT id, kind, text, events FROM "+table+where, text, found); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// textsOf adds those of a query's names that hold the text.
func (d *database) textsOf(ctx context.Context, query, text string, found map[string]choice) error {
	rows, err := d.conn.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id, events int64
		var kind int
		var s string
		if err := rows.Scan(&id, &kind, &s, &events); err != nil {
			return err
		}
		if !textual(kind) || !strings.Contains(strings.ToLower(asWritten(kind, s)), text) {
			continue
		}
		name := textColumn(kind)
		c := found[name]
		c.column, c.ids, c.events = name, append(c.ids, id), c.events+events
		found[name] = c
	}
	return rows.Err()
}

func textColumn(kind int) string {
	if kind < len(columns) {
		return columns[kind].name
	}
	return texts[kind-colPath].name
}

// grams is the FTS query for a text: some of its three-letter pieces, all of which
// must be there. "" for one too short to have any.
func grams(text string) string {
	letters := []rune(text)
	n := len(letters) - 2
	if n <= 0 {
		return ""
	}
	var pieces []string
	for i := 0; i < n; i += max(1, n/maxGrams) {
		piece := strings.ReplaceAll(string(letters[i:i+3]), `"`, `""`)
		pieces = append(pieces, `"`+piece+`"`)
	}
	return strings.Join(pieces, " AND ")
}
