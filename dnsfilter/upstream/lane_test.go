package upstream

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/sys/unix"

	"schoolgate/internal/testkit"
)

// reader is one that asks by the lane of a stage, as the door does.
type reader struct {
	*Stage
	woken int // readable when all have heard
	left  atomic.Int64
}

// newReader makes one; with hectic, every question is one of busy times.
func newReader(t *testing.T, r *Resolver, hectic bool) *reader {
	t.Helper()
	for _, s := range r.root.servers {
		if hectic {
			s.sockets.mu.Lock()
			s.sockets.inFlight += busy
			s.sockets.mu.Unlock()
		}
	}
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	return &reader{Stage: r.NewStage(), woken: fd}
}

// asked is one question of a reader.
type asked struct {
	rd  *reader
	q   Question
	a   Answer
	err error
}

func (q *asked) Answered(err error, _ Batch) {
	q.err = err
	if q.rd.left.Add(-1) == 0 {
		q.rd.wake()
	}
}

func (rd *reader) wake() {
	if _, err := unix.Write(rd.woken, binary.NativeEndian.AppendUint64(nil, 1)); err != nil {
		panic(err)
	}
}

// start asks for addresses of names that are not in the cache.
func (rd *reader) start(t *testing.T, names ...string) []*asked {
	t.Helper()
	rd.left.Store(int64(len(names)))
	all := make([]*asked, len(names))
	for i, name := range names {
		wire, _ := WireName(name)
		all[i] = &asked{rd: rd, q: Question{Name: wire, Type: dns.TypeA}}
		if rd.r.Cached(&all[i].a, all[i].q) {
			t.Fatalf("%s is in the cache", name)
		}
		if ready, err := rd.r.Start(all[i].q, &all[i].a, all[i], rd.Stage); ready || err != nil {
			t.Fatalf("%s: %v, %v", name, ready, err)
		}
	}
	rd.Depart()
	return all
}

// ask waits for the answers as a door does.
func (rd *reader) ask(t *testing.T, names ...string) (said []string) {
	t.Helper()
	all := rd.start(t, names...)
	for more := false; !more; {
		_, more = rd.Await(uintptr(rd.woken))
	}
	var b [8]byte
	if _, err := unix.Read(rd.woken, b[:]); err != nil {
		t.Fatal(err)
	}
	for _, q := range all {
		if q.err != nil {
			said = append(said, q.err.Error())
		} else {
			said = append(said, read(t, &q.a, q.q))
		}
	}
	return said
}

// A busy reader's queries leave by few ports, none of which is used for more than its
// share; all of them are closed in the end.
func TestLane(t *testing.T) {
	t.Parallel()
	u := testkit.NewUpstream(t)
	r := newResolver(t, Config{}, u)
	rd := newReader(t, r, true)
	const rounds, each = 20, 60
	rested, began := 0, time.Now()
	for round := range rounds {
		if time.Since(began) >= portRest { // so much may have passed since the port was used
			rested++
		}
		began = time.Now()
		var names []string
		for i := range each {
			names = append(names, fmt.Sprintf("n%d.round%d.example", i, round))
		}
		for i, said := range rd.ask(t, names...) {
			if said != "NXDOMAIN +SOA" {
				t.Fatalf("%s = %s", names[i], said)
			}
		}
	}
	ports, ids, _ := u.Seen()
	late := int(testutil.ToFloat64(r.metrics.failed)) // on a busy machine some are, and asked from elsewhere
	if least := rounds * each / socketUses; ports < least || ports > 3*least+late+rested {
		t.Errorf("%d queries came from %d ports, want about one for %d: %d were late, and a port was closed by its rest at most %d times",
			rounds*each, ports, socketUses, late, rested)
	}
	if ids < rounds*each*9/10 {
		t.Errorf("%d queries had %d IDs", rounds*each, ids)
	}
	if n := len(rd.lane.ports); n > 1 {
		t.Errorf("%d ports are open though nothing is awaited", n)
	}
	rd.lane.tidy(time.Now().Add(portRest))
	if rd.Waiting() {
		t.Error("ports are open after a rest")
	}
}

// A quiet reader has a fresh port for each query, and keeps none.
func TestQuietLane(t *testing.T) {
	t.Parallel()
	u := testkit.NewUpstream(t)
	rd := newReader(t, newResolver(t, Config{}, u), false)
	for i := range 200 {
		if said := rd.ask(t, fmt.Sprintf("name-with-many-letters-%d.example", i))[0]; said != "NXDOMAIN +SOA" {
			t.Fatal(said)
		}
		if rd.Waiting() {
			t.Fatal("the port is open though its query is answered")
		}
	}
	checkSeen(t, u)
}

// What lies of an upstream come to on a lane is what they come to elsewhere.
func TestLaneLies(t *testing.T) {
	t.Parallel()
	for _, tc := range lies {
		for times, hectic := range map[string]bool{"quiet": false, "busy": true} {
			t.Run(tc.promise+", "+times, func(t *testing.T) {
				t.Parallel()
				u := testkit.NewUpstream(t, "www.example. 300 IN A 203.0.113.1")
				rd := newReader(t, newResolver(t, Config{}, u), hectic)
				defer rd.Close()
				u.Tell(tc.lie)
				if got := rd.ask(t, "www.example")[0]; got != tc.want {
					t.Errorf("%s, want %s", got, tc.want)
				}
			})
		}
	}
}

// A server that is gone, or says nothing, is passed over on a lane as well.
func TestLaneSecondServer(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*testkit.Upstream){
		"gone": (*testkit.Upstream).Stop, "silent": func(u *testkit.Upstream) { u.Tell(testkit.Silent) },
		"wrong ID": func(u *testkit.Upstream) { u.Tell(testkit.WrongID) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bad, good := testkit.NewUpstream(t), testkit.NewUpstream(t, "www.example. 300 IN A 203.0.113.1")
			r := newResolver(t, Config{Ordered: true}, bad, good)
			rd := newReader(t, r, false)
			defer rd.Close()
			spoil(bad)
			if got, want := rd.ask(t, "www.example")[0], "NOERROR | www.example. A 203.0.113.1"; got != want {
				t.Errorf("%s, want %s", got, want)
			}
			if bad.Asked("") == 0 && name != "gone" {
				t.Error("the first server was not asked")
			}
		})
	}
}

// What is under way when the reader ends is answered all the same.
func TestLaneCloses(t *testing.T) {
	t.Parallel()
	u := testkit.NewUpstream(t, "www.example. 300 IN A 203.0.113.1")
	r := newResolver(t, Config{}, u)
	rd := newReader(t, r, false)
	u.Tell(testkit.Slow)
	q := rd.start(t, "www.example")[0]
	if !rd.Waiting() {
		t.Fatal("the query did not leave by the lane")
	}
	rd.Close()
	u.Tell(testkit.Honest)
	u.Release()
	var b [8]byte
	if _, err := unix.Read(rd.woken, b[:]); err != nil { // waits
		t.Fatal(err)
	}
	if q.err != nil {
		t.Fatal(q.err)
	}
	if got, want := read(t, &q.a, q.q), "NOERROR | www.example. A 203.0.113.1"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// A port reaches its server, and nobody else reaches the port.
func TestConnect(t *testing.T) {
	t.Parallel()
	for _, ip := range []string{"127.0.0.1", "::1"} {
		server, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(ip)})
		if err != nil {
			if ip == "::1" {
				t.Skipf("SKIPPED: no IPv6 here: %v", err)
			}
			t.Fatal(err)
		}
		defer server.Close()
		fd, err := connect(server.LocalAddr().(*net.UDPAddr).AddrPort())
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		if _, err := unix.Write(fd, []byte("question")); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 64)
		n, from, err := server.ReadFromUDPAddrPort(buf)
		if err != nil || string(buf[:n]) != "question" {
			t.Fatalf("%s: got %q, %v", ip, buf[:n], err)
		}
		other, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(ip)})
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		for _, c := range []*net.UDPConn{other, server} {
			if _, err := c.WriteToUDPAddrPort([]byte(c.LocalAddr().String()), from); err != nil {
				t.Fatal(err)
			}
		}
		arrived := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		for _, err = unix.Poll(arrived, -1); errors.Is(err, unix.EINTR); _, err = unix.Poll(arrived, -1) {
		}
		if n, err = unix.Read(fd, buf); err != nil || string(buf[:n]) != server.LocalAddr().String() {
			t.Errorf("%s: the port took %q, %v, want the server's alone", ip, buf[:n], err)
		}
	}
}
