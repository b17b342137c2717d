package audit

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"schoolgate/policy"
)

// lesson makes events from lines: seconds, client, use (p, b or -), host, and more.
func lesson(lines string) (events []policy.Event) {
	for line := range strings.Lines(lines) {
		f := strings.Fields(line)
		if len(f) < 4 {
			continue
		}
		at, err := time.ParseDuration(f[0])
		if err != nil {
			panic(err)
		}
		e := policy.Event{
			ID: policy.EventID(len(events) + 1), Time: time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC).Add(at), Client: f[1], Host: f[3],
			Door: policy.DoorInspect, Verdict: policy.Allow, Reason: policy.ReasonDefault,
		}
		switch f[2] {
		case "p":
			e.Use = policy.UsePerson
		case "b":
			e.Use = policy.UseBackground
		default:
			e.Door = policy.DoorDNS
		}
		for _, more := range f[4:] {
			switch {
			case more == "block":
				e.Verdict = policy.Block
			case more == "flagged":
				e.Severity = 3
			default:
				e.Words = strings.ReplaceAll(more, "_", " ")
			}
		}
		events = append(events, e)
	}
	return events
}

// R42, S13: one line for what a person did, what came with it under it, and nothing
// claimed that is not known.
func TestFold(t *testing.T) {
	for _, test := range []struct{ promise, lines, want string }{
		{"a page and what it fetches", `
			0s a p www.bbc.co.uk
			0.1s a b www.bbc.co.uk
			0.2s a b static.files.bbci.co.uk
			0.3s b b cdn.example
			9s a b emp.bbc.com`,
			"1 typed or opened by a person +3; 4 fetched by a page or program +0"},
		{"the next page takes over", `
			0s a p one.example
			1s a b cdn.example
			5s a p two.example
			6s a b cdn.example
			7s a b img.one.example`,
			"1 typed or opened by a person +2; 3 typed or opened by a person +1"},
		{"a page left open is over after a minute of quiet", `
			0s a p one.example
			70s a b poll.other.example`,
			"1 typed or opened by a person +0; 2 fetched by a page or program +0"},
		{"names alone: a site, and a burst, by nobody known", `
			0s a - www.poker.example.org
			0.4s a - cdn.example.net
			1.0s a - a.poker.example.org
			30s a - www.example.com
			240s a - img.poker.example.org
			900s a - img.poker.example.org`,
			"1 not known who or what +3; 4 not known who or what +0; 6 not known who or what +0"},
		{"what was blocked is not hidden in a burst", `
			0s a - www.example.com
			0.5s a - poker.example block
			0.6s a - poker.example block`,
			"1 not known who or what +0; 2 not known who or what +1 2 blocked"},
		{"a blocked part of a page is counted with it", `
			0s a p www.example.com
			0.5s a b ads.example.net block`,
			"1 typed or opened by a person +1 1 blocked"},
		{"flagged, searched and typed have a line each", `
			0s a p search.example how_to
			1s a b search.example how_to_h
			2s a b search.example flagged
			3s a p search.example`,
			"1 typed or opened by a person +0; 2 fetched by a page or program +0; 3 fetched by a page or program +0; 4 typed or opened by a person +0"},
		{"clients do not mix", `
			0s a p one.example
			0.1s b b one.example
			0.2s a b one.example`,
			"1 typed or opened by a person +1; 2 fetched by a page or program +0"},
	} {
		var got []string
		for _, v := range Fold(lesson(test.lines)) {
			s := fmt.Sprintf("%d %s +%d", v.Head.ID, v.Began(), len(v.Folded))
			if v.Blocked > 0 {
				s += fmt.Sprintf(" %d blocked", v.Blocked)
			}
			got = append(got, s)
		}
		if text := strings.Join(got, "; "); text != test.want {
			t.Errorf("%s:\n got %s\nwant %s", test.promise, text, test.want)
		}
	}
}

// Every event is in exactly one view, and no flagged, searched or typed one is folded.
func TestFoldLosesNothing(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 3))
	for range 50 {
		var events []policy.Event
		at := time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)
		for i := range 400 {
			at = at.Add(time.Duration(rnd.IntN(3000)-100) * time.Millisecond)
			e := policy.Event{
				ID: policy.EventID(i + 1), Time: at, Client: fmt.Sprint(rnd.IntN(3)), Host: fmt.Sprintf("h%d.s%d.example", rnd.IntN(3), rnd.IntN(4)),
				Door: policy.Door(1 + rnd.IntN(5)), Use: policy.Use(rnd.IntN(3)), Verdict: policy.Verdict(rnd.IntN(3)),
			}
			if rnd.IntN(20) == 0 {
				e.Severity = 2
			}
			events = append(events, e)
		}
		var ids []policy.EventID
		for _, v := range Fold(events) {
			ids = append(ids, v.Head.ID)
			for _, id := range v.Folded {
				if e := events[id-1]; e.Flagged() || e.Use == policy.UsePerson || e.Client != v.Head.Client {
					t.Fatalf("%+v was folded under %+v", e, v.Head)
				}
				ids = append(ids, id)
			}
		}
		slices.Sort(ids)
		if len(slices.Compact(ids)) != len(events) || len(ids) != len(events) {
			t.Fatalf("%d events in views, want %d", len(ids), len(events))
		}
	}
}
