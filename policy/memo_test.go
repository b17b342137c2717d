package policy

import (
	"math/rand/v2"
	"sync"
	"testing"
)

// A decision with a memo is the decision without one: over random schools, with
// memos that are used again after every swap, for other clients and times, and at
// the wrong host.
func TestMemoProperties(t *testing.T) {
	for seed := range uint64(300) {
		c := chance{rand.New(rand.NewPCG(seed, 5))}
		var e Engine
		memos := map[Host]*Memo{}
		for range 3 {
			p, problems := Compile(c.spec())
			if len(problems) > 0 {
				t.Fatal(problems)
			}
			facts := byHost{}
			s := Snapshot{Policy: p, Lists: facts, Clients: anyone{Group: c.group(), Device: c.device()}}
			e.Swap(&s)
			for range 40 {
				h := c.host()
				if _, ok := facts[h]; !ok {
					facts[h] = c.facts()
				}
				m := memos[h]
				if m == nil {
					m = &Memo{}
					m.For(h)
					memos[h] = m
				}
				q := Request{Door: DoorDNS, Client: c.addr(), Host: h, Path: c.path(), Time: c.at()}
				want := e.Decide(q)
				q.Memo = m
				if c.IntN(10) == 0 {
					q.Memo = memos[c.host()] // nil, or perhaps another's
				}
				for range 2 { // filling it, and by it
					if got := e.Decide(q); got != want {
						t.Fatalf("seed %d: Decide(%v) with a memo = %+v, want %+v", seed, q, got, want)
					}
				}
			}
		}
	}
}

// byHost says of each host what it is told to.
type byHost map[Host]Facts

func (b byHost) Classify(h Host, path string) Facts {
	f := b[h]
	f.Paths = f.Paths || path != ""
	return f
}

// Many decide by one memo while snapshots are swapped: none gets a mixture.
func TestMemoUnderSwaps(t *testing.T) {
	h, err := ParseHost("casino.example")
	if err != nil {
		t.Fatal(err)
	}
	snapshots := make([]*Snapshot, 2)
	for i, facts := range []Facts{{Categories: SetOf(Gambling, Ads), Mandatory: ChildAbuse}, {Categories: SetOf(News), Paths: true}} {
		snapshots[i] = &Snapshot{Policy: compiled(t, school(t)), Lists: fixed(facts), Clients: anyone{}}
	}
	var e Engine
	e.Swap(snapshots[0])
	var m Memo
	m.For(h)
	var askers sync.WaitGroup
	for range 4 {
		askers.Go(func() {
			for range 5000 {
				f := e.Decide(Request{Door: DoorDNS, Host: h, Time: tuesday, Memo: &m}).Facts
				if f != Facts(snapshots[0].Lists.(fixed)) && f != Facts(snapshots[1].Lists.(fixed)) {
					t.Errorf("a mixture: %+v", f)
				}
			}
		})
	}
	for i := range 2000 {
		e.Swap(snapshots[i%2])
	}
	askers.Wait()
}

// What a broken store says is not remembered: the next question asks it again.
func TestMemoOfBrokenStore(t *testing.T) {
	h, err := ParseHost("news.example")
	if err != nil {
		t.Fatal(err)
	}
	lists := byHost{h: {Unreadable: true}}
	var e Engine
	e.Swap(&Snapshot{Policy: compiled(t, school(t)), Lists: lists, Clients: anyone{}})
	var m Memo
	m.For(h)
	q := Request{Door: DoorDNS, Host: h, Time: tuesday, Memo: &m}
	if r := e.Decide(q); r.Verdict != Block || !r.Facts.Unreadable {
		t.Fatalf("of a broken store: %v", r.Verdict)
	}
	lists[h] = Facts{Categories: SetOf(News)}
	if r := e.Decide(q); r.Facts.Unreadable {
		t.Error("the memo kept what the broken store said")
	}
}
