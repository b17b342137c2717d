package inspect

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"schoolgate/policy"
)

var tablet, visitor = netip.MustParseAddr("10.2.0.7"), netip.MustParseAddr("10.2.0.8")

// TestTrust: who takes no certificate is left alone for an hour; who took one is left
// alone for the host it refused, also in the morning, before it has taken another.
func TestTrust(t *testing.T) {
	open, app := host(t, "open.example.test"), host(t, "app.example.test")
	told := Refusal{Told: true, Open: true}
	for _, c := range []struct {
		name       string
		before     func(*Trust)
		app, other bool // the app's host, and another, are not looked into at term
		untrusting bool
		pinned     int
	}{
		{"nothing known", func(*Trust) {}, false, false, false, 0},
		{"a visitor", func(r *Trust) { r.Refused(tablet, app, told, term) }, true, true, true, 0},
		{"an hour later", func(r *Trust) { r.Refused(tablet, app, told, term.Add(-time.Hour)) }, false, false, false, 0},
		{"an app on a tablet", func(r *Trust) {
			r.Good(tablet, term)
			r.Refused(tablet, app, told, term)
		}, true, false, false, 1},
		{"an app of which the tablet is refused the site", func(r *Trust) {
			r.Good(tablet, term)
			r.Refused(tablet, app, Refusal{Told: true}, term)
		}, true, false, false, 0},
		{"an app that is a tablet's first in the morning", func(r *Trust) {
			r.Good(tablet, term.Add(-16*time.Hour))
			r.Refused(tablet, app, told, term)
		}, true, false, false, 1},
		{"the address is a visitor's now", func(r *Trust) {
			r.Good(tablet, term.Add(-16*time.Hour))
			for i := range fewInRow {
				r.Refused(tablet, host(t, fmt.Sprintf("%d.example.test", i)), told, term)
			}
		}, true, true, true, 0},
		{"an app asks again and again", func(r *Trust) {
			r.Good(tablet, term.Add(-16*time.Hour))
			for range 3 * fewInRow {
				r.Refused(tablet, app, told, term)
			}
		}, true, false, false, 1},
		{"a week later", func(r *Trust) {
			r.Good(tablet, term.Add(-trustedFor))
			r.Refused(tablet, app, told, term)
		}, true, true, true, 0},
		{"an app of yesterday", func(r *Trust) {
			r.Good(tablet, term)
			r.Refused(tablet, app, told, term.Add(-listedFor))
		}, false, false, false, 0},
		{"very many hosts at once", func(r *Trust) {
			r.Good(tablet, term)
			for i := range maxPinned + 1 {
				r.Refused(tablet, host(t, fmt.Sprintf("%d.example.test", i)), told, term)
			}
		}, true, true, true, 0},
		{"very many hosts in a term", func(r *Trust) {
			r.Good(tablet, term)
			for i := range 3 * maxPinned {
				r.Refused(tablet, host(t, fmt.Sprintf("%d.example.test", i)), told, term.Add(time.Duration(i-3*maxPinned)*time.Hour))
			}
		}, false, false, false, 23},
		{"twice without a word", func(r *Trust) {
			r.Refused(tablet, app, Refusal{Open: true}, term)
			r.Refused(tablet, app, Refusal{Open: true}, term)
		}, false, false, false, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := NewTrust()
			c.before(r)
			if got := r.Refuses(tablet, app, term); got != c.app {
				t.Errorf("the app's host is left alone: %v", got)
			}
			if got := r.Refuses(tablet, open, term); got != c.other {
				t.Errorf("another host is left alone: %v", got)
			}
			if got := r.Untrusting(term); slices.Contains(got, tablet) != c.untrusting {
				t.Errorf("Untrusting = %v", got)
			}
			if got := r.Pinned(term); len(got) != c.pinned {
				t.Errorf("Pinned = %v, want %d", got, c.pinned)
			}
		})
	}
}

// TestPinned: IT sees which sites' apps refuse, since when and on how many devices.
func TestPinned(t *testing.T) {
	r, app := NewTrust(), host(t, "app.example.test")
	hours := func(n time.Duration) time.Time { return term.Add(-n * time.Hour) }
	for _, c := range []struct {
		client netip.Addr
		h      policy.Host
		at     time.Time
	}{{tablet, app, hours(7)}, {tablet, app, hours(5)}, {visitor, app, hours(3)}, {tablet, host(t, "a.example.test"), hours(2)}} {
		r.Good(c.client, c.at)
		r.Refused(c.client, c.h, Refusal{Told: true, Open: true}, c.at)
	}
	want := []Pinned{{host(t, "a.example.test"), 1, hours(2), hours(2)}, {app, 2, hours(7), hours(3)}}
	if diff := cmp.Diff(want, r.Pinned(term), cmpopts.EquateComparable(policy.Host{})); diff != "" {
		t.Errorf("Pinned (-want +got):\n%s", diff)
	}
}
