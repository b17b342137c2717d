package inspect

import (
	"bytes"
	_ "embed" // the shipped list
	"encoding/csv"
	"fmt"
	"sync/atomic"

	"schoolgate/policy"
)

//go:embed never_inspect.csv
var shippedNever []byte

// Private is one domain that is never looked into.
type Private struct {
	Domain policy.Host
	Kind   string // banking, health, pinned, ...
	Why    string
}

// NeverInspect is the set of domains whose connections are carried untouched
// whatever the policy says: the shipped list and the school's own.
type NeverInspect struct {
	shipped map[policy.Host]Private
	own     atomic.Pointer[map[policy.Host]Private]
}

// NewNeverInspect joins the shipped list with a school's own.
func NewNeverInspect(own []policy.Host) (*NeverInspect, error) {
	r := csv.NewReader(bytes.NewReader(shippedNever))
	r.Comment = '#'
	rows, err := r.ReadAll()
	if err != nil {
		return nil, fmt.Errorf("list of hosts never inspected: %w", err)
	}
	n := &NeverInspect{shipped: make(map[policy.Host]Private, len(rows))}
	for _, row := range rows[1:] {
		h, err := policy.ParseHost(row[0])
		if err != nil {
			return nil, fmt.Errorf("list of hosts never inspected: %w", err)
		}
		n.shipped[h] = Private{h, row[1], row[2]}
	}
	n.Use(own)
	return n, nil
}

// Use puts another list of the school's own in force.
func (n *NeverInspect) Use(own []policy.Host) {
	domains := make(map[policy.Host]Private, len(own))
	for _, h := range own {
		domains[h] = Private{h, "school", "the school's own choice"}
	}
	n.own.Store(&domains)
}

// Find says why a host is never looked into; ok is false where it may be.
func (n *NeverInspect) Find(h policy.Host) (p Private, ok bool) {
	own := *n.own.Load()
	for up := true; up; h, up = h.Parent() {
		if p, ok := own[h]; ok {
			return p, true
		}
		if p, ok := n.shipped[h]; ok {
			return p, true
		}
	}
	return Private{}, false
}
