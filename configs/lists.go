package configs

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"schoolgate/policy"
)

// readLists reads the approved and lesson lists: sites written here, rows of a
// CSV file, or both.
func (r *schoolReader) readLists(v value) {
	v.named("list", func(name string, v value) {
		var rules []policy.HostRule
		var file value
		var stages []string
		v.fields(map[string]func(value){
			"file":   func(v value) { file = v },
			"stages": func(v value) { stages = r.stages(v) },
			"sites": func(list value) {
				list.each(func(s value) {
					if rule, ok := read(s.as("%s", v.name), site); ok {
						rule.Verdict, rule.Rule, rule.Note = policy.Allow, s.pos(), "on the list "+name
						rules = append(rules, r.approvable(s, rule)...)
					}
				})
			},
		})
		if file.d != nil {
			rules = append(rules, r.listFile(file, stages)...)
		} else if stages != nil {
			v.problem("stages choose rows of a file, and there is no file")
		}
		r.spec.Lists[name] = rules
	})
}

func (r *schoolReader) approvable(v value, rule policy.HostRule) []policy.HostRule {
	if wholeSuffix(rule.Host) {
		v.problem("%q would approve every site that ends so (name one site)", rule.Host)
		return nil
	}
	return []policy.HostRule{rule}
}

var stageNames = []string{"EYFS", "KS1", "KS2", "staff"}

func (r *schoolReader) stages(v value) (stages []string) {
	stages = []string{}
	for _, item := range listed(v) {
		if s, ok := read(item, choice("stage", stageNames...)); ok {
			stages = append(stages, s)
		}
	}
	return stages
}

// listFile reads a CSV of approved sites: host, path_prefix, stages, name and
// more columns for people. Without stages every row is taken.
func (r *schoolReader) listFile(v value, stages []string) (rules []policy.HostRule) {
	name, ok := read(v, fileName)
	if !ok {
		return nil
	}
	text, err := r.folder.read(name)
	if err != nil {
		v.problem("%q: %v", name, err)
		return nil
	}
	r.digest.Write(text)
	rows, problems := readRows(name, text, "host", "path_prefix", "stages", "name")
	for _, p := range problems {
		r.d.add(p)
	}
	for _, row := range rows {
		if stages != nil && !meets(strings.Fields(row.get("stages")), stages) {
			continue
		}
		rule, err := site(row.get("host") + row.get("path_prefix"))
		if err == nil && wholeSuffix(rule.Host) {
			err = fmt.Errorf("%q would approve every site that ends so (name one site)", rule.Host)
		}
		if err != nil {
			r.d.problem(row.at, "%v", err)
			continue
		}
		rule.Verdict, rule.Rule, rule.Note = policy.Allow, row.at, row.get("name")
		rules = append(rules, rule)
	}
	return rules
}

func meets(a, b []string) bool {
	return slices.ContainsFunc(a, func(s string) bool { return slices.Contains(b, s) })
}

// row is one line of a CSV file.
type row struct {
	at      policy.Pos
	fields  []string
	columns map[string]int
}

func (r row) get(column string) string {
	i, ok := r.columns[column]
	if !ok || i >= len(r.fields) {
		return ""
	}
	return strings.TrimSpace(r.fields[i])
}

// readRows reads a CSV file whose first line names its columns, which must hold
// those wanted. A row that is not as long as the first line is a problem.
func readRows(name string, text []byte, want ...string) (rows []row, problems []policy.Problem) {
	trouble := func(line int, format string, args ...any) {
		problems = append(problems, policy.Problem{Pos: policy.Pos{File: name, Line: line}, Text: fmt.Sprintf(format, args...)})
	}
	if i := bytes.IndexByte(text, 0); i >= 0 {
		trouble(1+bytes.Count(text[:i], []byte("\n")), "not text: a zero byte (save the file as CSV in UTF-8)")
		return nil, problems
	}
	cr := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(text, []byte("\ufeff"))))
	var columns map[string]int
	for {
		fields, err := cr.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if pe := (*csv.ParseError)(nil); errors.As(err, &pe) {
			trouble(pe.Line, "not CSV: %v (check the quotes and commas of this line)", pe.Err)
			if !errors.Is(pe.Err, csv.ErrFieldCount) {
				return rows, problems
			}
			continue
		}
		line, _ := cr.FieldPos(0)
		if columns == nil {
			columns = map[string]int{}
			for i, f := range fields {
				columns[strings.TrimSpace(f)] = i
			}
			for _, w := range want {
				if _, ok := columns[w]; !ok {
					trouble(line, "there is no column %q: the first line must name the columns %s", w, strings.Join(want, ","))
				}
			}
			if len(problems) > 0 {
				return nil, problems
			}
			continue
		}
		rows = append(rows, row{at: policy.Pos{File: name, Line: line}, fields: fields, columns: columns})
	}
	if columns == nil {
		trouble(1, "the file is empty: its first line must name the columns %s", strings.Join(want, ","))
	}
	return rows, problems
}
