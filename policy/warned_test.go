package policy

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

// Somebody who goes on past a warning lifts nothing but warnings, for nobody else,
// on no other site, and until the time is over.
func TestGoOn(t *testing.T) {
	var e Engine
	e.Swap(snapshot(t))
	clients := []netip.Addr{year5, nursery, teacher, cutoff, signer, unknown}
	hosts := []string{"news.example", "www.news.example", "nowhere.example", "illegal.example", "paged.example", "hosting.example", "help.example",
		"pass.example", "opened.example", "first.example", "porn.example", "bodies.example", "lesson.example", "video.example", "192.0.2.9"}
	until := tuesday.Add(30 * time.Minute)
	lifted := 0
	for _, who := range clients {
		for _, opened := range hosts {
			var with Engine
			with.Swap(snapshot(t))
			if !with.GoOn(who, host(t, opened), tuesday, until) {
				t.Fatal("there is no room for one")
			}
			with.Swap(snapshot(t)) // a reload, which forgets nobody
			for _, asks := range clients {
				for _, asked := range hosts {
					for _, at := range []time.Time{tuesday, until.Add(-time.Second), until} {
						q := Request{Door: DoorTLS, Client: asks, Host: host(t, asked), Time: at}
						before, after := e.Decide(q), with.Decide(q)
						want := before.Verdict
						if asks == who && q.Host.Within(host(t, opened)) && at.Before(until) && want == Warn {
							want = Allow
							lifted++
						}
						if after.Verdict != want || (after.Reason == ReasonWarned) != (want != before.Verdict) {
							t.Errorf("%s opened to %s: %s asks for %s at %s: %s by %s, want %s (before: %s by %s)", opened, who, asks, asked, at, after.Verdict, after.Reason, want, before.Verdict, before.Reason)
						}
					}
				}
			}
		}
	}
	if lifted == 0 {
		t.Error("no warning was lifted, so nothing was tested")
	}
}

// The memory is bounded: at the bound the page warns on, until something has ended.
func TestGoOnIsBounded(t *testing.T) {
	var w warnings
	until := tuesday.Add(time.Minute)
	for i := range maxWarnings {
		if !w.goOn(teacher, host(t, fmt.Sprintf("site%d.example", i)), tuesday, until) {
			t.Fatalf("no room for number %d", i)
		}
	}
	if w.goOn(teacher, host(t, "more.example"), tuesday, until) || w.passed(teacher, host(t, "more.example"), tuesday) {
		t.Error("there is room beyond the bound")
	}
	if !w.goOn(teacher, host(t, "more.example"), until, until.Add(time.Minute)) || len(w.ends) != 1 {
		t.Errorf("what has ended is kept: %d", len(w.ends))
	}
}
