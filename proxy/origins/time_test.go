package origins

import (
	"bufio"
	"context"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"schoolgate/policy"
)

// Every wait for somebody out there ends, at the time that is said of it.
func TestEveryWaitEnds(t *testing.T) {
	limits := Limits{Resolve: time.Second, Dial: 2 * time.Second, Hello: 3 * time.Second, OriginReply: 5 * time.Second, IdleStream: 7 * time.Second}
	c := config(t)
	c.Limits = limits
	c.Verifier = newAuthority(t).verifier()
	c.LookupHost = func(ctx context.Context, _ string) ([]netip.Addr, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	kept := func(o *Transport, conn net.Conn) *originConn {
		c := &originConn{origins: o, conn: conn, out: bufio.NewWriter(conn)}
		c.limit = io.LimitedReader{R: (*originReader)(c), N: math.MaxInt64}
		c.in = bufio.NewReader(&c.limit)
		return c
	}
	for _, w := range []struct {
		name string
		far  func(net.Conn) // what the other side does
		wait func(t *testing.T, o *Transport, near net.Conn) error
		want time.Duration
	}{
		{"a name that nobody answers for", mute, func(t *testing.T, o *Transport, _ net.Conn) error {
			_, err := o.Find(t.Context(), host(t, "slow.example"), 80)
			return err
		}, limits.Resolve},
		{"a handshake that is not answered", mute, func(t *testing.T, o *Transport, near net.Conn) error {
			_, err := o.Secure(context.WithValue(t.Context(), routeKey{}, Route{Name: host(t, "site.example")}), near)
			return err
		}, limits.Hello},
		{"a request that is not answered", mute, func(t *testing.T, o *Transport, near net.Conn) error {
			_, err := kept(o, near).ask(request(t, "GET", "http://site.example/", Route{}, nil))
			return err
		}, limits.OriginReply},
		{"a head that comes byte by byte", drip(anAnswer), func(t *testing.T, o *Transport, near net.Conn) error { // F11
			_, err := kept(o, near).ask(request(t, "GET", "http://site.example/", Route{}, nil))
			return err
		}, limits.OriginReply},
		{"a body that stands still", func(c net.Conn) { request1(c); io.WriteString(c, anAnswer) }, func(t *testing.T, o *Transport, near net.Conn) error {
			resp, err := kept(o, near).ask(request(t, "GET", "http://site.example/", Route{}, nil))
			if err != nil {
				return errors.New("no reply: " + err.Error())
			}
			_, err = io.ReadAll(resp.Body)
			return err
		}, limits.IdleStream},
		{"an upgrade that is not answered", mute, func(t *testing.T, o *Transport, near net.Conn) error {
			_, _, err := o.Upgrade(near, request(t, "GET", "http://site.example/", Route{}, nil))
			return err
		}, limits.OriginReply},
		{"an upgrade that is not read", deaf, func(t *testing.T, o *Transport, near net.Conn) error {
			_, _, err := o.Upgrade(near, request(t, "GET", "http://site.example/", Route{}, nil))
			return err
		}, limits.OriginReply},
		{"an upgrade whose answer comes byte by byte", drip(anAnswer), func(t *testing.T, o *Transport, near net.Conn) error { // F11
			_, _, err := o.Upgrade(near, request(t, "GET", "http://site.example/", Route{}, nil))
			return err
		}, limits.OriginReply},
		{"an upgrade refused with a body that stands still", func(c net.Conn) { request1(c); io.WriteString(c, anAnswer) }, func(t *testing.T, o *Transport, near net.Conn) error {
			resp, _, err := o.Upgrade(near, request(t, "GET", "http://site.example/", Route{}, nil))
			if err != nil {
				return errors.New("no reply: " + err.Error())
			}
			_, err = io.ReadAll(resp.Body)
			return err
		}, limits.IdleStream},
		{"a connection on which nothing moves", mute, func(_ *testing.T, _ *Transport, near net.Conn) error {
			_, err := (&idleConn{Conn: near, idle: limits.IdleStream}).Read(make([]byte, 1))
			return err
		}, limits.IdleStream},
	} {
		synctest.Test(t, func(t *testing.T) {
			o := New(c)
			near, far := net.Pipe()
			var other sync.WaitGroup
			other.Go(func() {
				w.far(far)
			})
			began := time.Now()
			err := w.wait(t, o, near)
			if took := time.Since(began); took != w.want || !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s: %v after %v, want a deadline after %v", w.name, err, took, w.want)
			}
			near.Close()
			far.Close()
			other.Wait()
			o.Close()
		})
	}
}

func deaf(net.Conn) {}

func mute(c net.Conn) { io.Copy(io.Discard, c) }

// request1 reads one request.
func request1(c net.Conn) { http.ReadRequest(bufio.NewReader(c)) }

// drip reads a request and answers a byte a second.
func drip(text string) func(net.Conn) {
	return func(c net.Conn) {
		request1(c)
		for n := range text {
			if _, err := io.WriteString(c, text[n:n+1]); err != nil {
				return
			}
			time.Sleep(time.Second) // of the bubble's clock
		}
	}
}

// All the addresses of an origin have one time together, and who left is not waited for.
func TestDialEnds(t *testing.T) {
	c := config(t, "127.0.0.0/8")
	c.Limits.Dial = 1 // ns
	s := listen(t)
	r := s.route(policy.Host{})
	for range 2 {
		if conn, err := transport(t, c).Dial(t.Context(), r); conn != nil || err == nil {
			t.Errorf("Dial = %v, %v; want that its time is up", conn, err)
		}
		r.Addrs = append(r.Addrs, r.Addrs[0])
	}
	c.Limits.Dial = time.Minute
	left, leave := context.WithCancel(t.Context())
	leave()
	if conn, err := transport(t, c).Dial(left, r); conn != nil || err == nil {
		t.Errorf("Dial = %v, %v for who left", conn, err)
	}
}
