package dnsfilter

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"schoolgate/internal/testkit"
	"schoolgate/policy"
)

var (
	ks2   = &policy.Profile{Name: "ks2", Band: policy.KS2}
	eyfs  = &policy.Profile{Name: "eyfs", Band: policy.EYFS}
	staff = &policy.Profile{Name: "staff", Band: policy.Staff}
)

// rules is a decider for tests: the nearest host decides, else what "" says.
type rules map[string]policy.Ruling

func (r rules) Decide(q policy.Request) policy.Ruling {
	if q.Host.IsZero() {
		return ruling(policy.Block, policy.ReasonBadHost, policy.Uncategorised, ks2)
	}
	for name := q.Host.String(); name != ""; {
		if ruling, ok := r[name]; ok {
			return ruling
		}
		_, name, _ = strings.Cut(name, ".")
	}
	return r[""]
}

// swapped is a decider that can be changed while it is asked.
type swapped struct{ atomic.Pointer[rules] }

func (s *swapped) Decide(q policy.Request) policy.Ruling { return s.Load().Decide(q) }

func ruling(v policy.Verdict, why policy.Reason, cat policy.Category, p *policy.Profile) policy.Ruling {
	r := policy.Ruling{Decision: policy.Decision{Verdict: v, Reason: why, Category: cat, Profile: p}, PolicyVersion: "test"}
	if why == policy.ReasonMandatory {
		r.Facts.Mandatory = cat
	}
	return r
}

func allowed() policy.Ruling {
	return ruling(policy.Allow, policy.ReasonUncategorised, policy.Uncategorised, ks2)
}

func blocked(cat policy.Category) policy.Ruling {
	return ruling(policy.Block, policy.ReasonCategory, cat, ks2)
}

func safe(t testing.TB, host string) policy.Ruling {
	r := allowed()
	h, err := policy.ParseHost(host)
	if err != nil {
		t.Fatal(err)
	}
	r.Safe = h
	return r
}

// journal keeps events, and can be told to fail.
type journal struct {
	mu     sync.Mutex
	events []policy.Event
	broken atomic.Bool
	count  atomic.Int64
	keep   bool
}

func (j *journal) Record(e *policy.Event) error {
	if j.broken.Load() {
		return errors.New("disk full")
	}
	j.count.Add(1)
	if !j.keep {
		return nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	e.ID = policy.EventID(len(j.events) + 1)
	j.events = append(j.events, *e)
	return nil
}

func (j *journal) last(t testing.TB) policy.Event {
	t.Helper()
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.events) == 0 {
		t.Fatal("no event was recorded")
	}
	return j.events[len(j.events)-1]
}

// door is a running server with a fake upstream behind it.
type door struct {
	*Server
	addr     string
	upstream *testkit.Upstream
	journal  *journal
}

func openDoor(t testing.TB, d Decider, change func(*Config), records ...string) *door {
	t.Helper()
	u := testkit.NewUpstream(t, records...)
	j := &journal{keep: true}
	cfg := Config{
		Listen: []string{"127.0.0.1:0"}, Decider: d, Sink: j, Upstreams: []string{u.Addr},
		Sinkhole: []netip.Addr{netip.MustParseAddr("192.0.2.80"), netip.MustParseAddr("2001:db8::80")},
		Rate:     -1, CacheBytes: 2 << 20, Metrics: prometheus.NewRegistry(),
	}
	if change != nil {
		change(&cfg)
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		u.Release()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
	})
	return &door{Server: s, addr: s.Addrs()[0].String(), upstream: u, journal: j}
}

func question(name string, qtype uint16) *dns.Msg {
	m := new(dns.Msg).SetQuestion(dns.Fqdn(name), qtype)
	m.SetEdns0(1232, false)
	return m
}

func (d *door) ask(t testing.TB, name string, qtype uint16) *dns.Msg {
	t.Helper()
	return d.send(t, question(name, qtype))
}

func (d *door) send(t testing.TB, m *dns.Msg) *dns.Msg {
	t.Helper()
	r := testkit.Ask(t, "udp", d.addr, m)
	if r == nil {
		t.Fatalf("no answer to %v", m.Question)
	}
	return r
}

// said is an answer in one line: the code, then the records.
func said(m *dns.Msg) string {
	if m == nil {
		return "nothing"
	}
	parts := []string{dns.RcodeToString[m.Rcode]}
	for _, rr := range m.Answer {
		parts = append(parts, strings.Join(strings.Fields(rr.String())[3:], " "))
	}
	return strings.Join(parts, " | ")
}

func edeOf(m *dns.Msg) (codes []uint16, text string) {
	if opt := m.IsEdns0(); opt != nil {
		for _, o := range opt.Option {
			if e, ok := o.(*dns.EDNS0_EDE); ok {
				codes, text = append(codes, e.InfoCode), text+e.ExtraText
			}
		}
	}
	return codes, text
}
