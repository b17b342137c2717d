package dnsfilter

import (
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"schoolgate/policy"
)

// batchJournal is a journal that takes batches.
type batchJournal struct {
	journal
	batches atomic.Int64
	fault   atomic.Pointer[string]
}

func (j *batchJournal) RecordBatch(events []policy.Event) error {
	if f := j.fault.Load(); f != nil {
		panic(*f)
	}
	j.batches.Add(1)
	for i := range events {
		if err := j.Record(&events[i]); err != nil {
			return err
		}
	}
	return nil
}

// Questions that arrive together are recorded together, and each gets the answer
// to itself.
func TestBatch(t *testing.T) {
	j := &batchJournal{journal: journal{keep: true}}
	d := openDoor(t, rules{"": allowed(), "casino.example": blocked(policy.Gambling)}, func(c *Config) { c.Sink = j },
		"open.example. 300 IN A 203.0.113.1")
	names := []string{"open.example", "casino.example", "localhost", "a.casino.example", "mask.icloud.com"}
	want := []string{"NOERROR | A 203.0.113.1", "NOERROR | A 192.0.2.80", "NOERROR | A 127.0.0.1", "NOERROR | A 192.0.2.80", "NXDOMAIN"}
	d.ask(t, "open.example", dns.TypeA) // from now on from the cache
	conn, err := dns.Dial("udp", d.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	const rounds, each = 40, 50
	for round := range rounds {
		for i := range each {
			m := question(names[i%len(names)], dns.TypeA)
			m.Id = uint16(round*each + i)
			if err := conn.WriteMsg(m); err != nil {
				t.Fatal(err)
			}
		}
		for range each {
			r, err := conn.ReadMsg()
			if err != nil {
				t.Fatal(err)
			}
			i := int(r.Id) % each % len(names)
			if got := said(r); got != want[i] || !strings.EqualFold(r.Question[0].Name, names[i]+".") {
				t.Fatalf("answer %d to %s = %s, want %s", r.Id, r.Question[0].Name, got, want[i])
			}
		}
	}
	if n := j.count.Load(); n != rounds*each+1 {
		t.Errorf("%d events for %d answers", n, rounds*each+1)
	}
	t.Logf("%d events in %d batches", j.count.Load(), j.batches.Load())

	fault := "fault for a test"
	j.fault.Store(&fault)
	if got := said(d.ask(t, "casino.example", dns.TypeA)); got != "SERVFAIL" {
		t.Errorf("when the journal fails: %s, want SERVFAIL", got)
	}
	j.fault.Store(nil)
	if got := said(d.ask(t, "casino.example", dns.TypeA)); got != want[1] {
		t.Errorf("when it is back: %s", got)
	}
}

// A box has an address in each network of the school: the answer leaves from the
// one that was asked, or the client does not take it.
func TestAnswerFromTheAddressAsked(t *testing.T) {
	for _, listen := range []string{"0.0.0.0:0", "[::]:0"} {
		d := openDoor(t, rules{"": allowed()}, func(c *Config) { c.Listen = []string{listen} }, "open.example. 300 IN A 203.0.113.1")
		_, port, err := net.SplitHostPort(d.addr)
		if err != nil {
			t.Fatal(err)
		}
		for _, ip := range []string{"127.0.0.1", "127.0.0.2", "127.9.9.9", "::1"} {
			if ip == "::1" && listen == "0.0.0.0:0" {
				continue
			}
			d.addr = net.JoinHostPort(ip, port)
			for _, name := range []string{"open.example", "localhost"} { // one waits for an upstream, one does not
				if got := said(d.via(t, "udp", question(name, dns.TypeA))); !strings.HasPrefix(got, "NOERROR | A ") {
					t.Errorf("listening on %s, %s asked at %s: %s", listen, name, ip, got)
				}
			}
		}
	}
}
