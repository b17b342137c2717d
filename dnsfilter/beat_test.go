package dnsfilter

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"schoolgate/policy"
)

// stuck is a journal that never ends writing.
type stuck struct {
	reached chan struct{}
	release chan struct{}
}

func (s *stuck) Record(*policy.Event) error {
	s.reached <- struct{}{}
	<-s.release
	return nil
}

// DESIGN: the watchdog is fed by what answers. One loop that hangs is noticed
// though the others go on.
func TestBeatNoticesALoopThatHangs(t *testing.T) {
	t.Parallel()
	sink := &stuck{make(chan struct{}, 1), make(chan struct{})}
	d := openDoor(t, rules{"": blocked(policy.Gaming)}, func(c *Config) { c.Sink = sink })
	t.Cleanup(func() { close(sink.release) })
	if err := d.Beat(t.Context()); err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("udp", d.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	q, err := new(dns.Msg).SetQuestion("games.example.", dns.TypeA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(q); err != nil {
		t.Fatal(err)
	}
	<-sink.reached
	ctx, stop := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer stop()
	if err := d.Beat(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a hung loop: %v", err)
	}
}

// A server that answers nobody here, since it serves other networks and the
// outsiders' share is spent, still beats, and counts no outsider for it.
func TestBeatIsNotAQuestion(t *testing.T) {
	t.Parallel()
	d := openDoor(t, rules{"": allowed()}, func(c *Config) { c.Clients = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} })
	for range 20 {
		if err := d.Beat(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := testutil.ToFloat64(d.metrics.outside); n != 0 {
		t.Errorf("%v packets of outsiders counted", n)
	}
}
