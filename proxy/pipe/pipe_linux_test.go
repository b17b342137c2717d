package pipe

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pair is a TCP connection, both ends.
func pair(t *testing.T) (near, far *net.TCPConn) {
	t.Helper()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	near, err = net.DialTCP("tcp", nil, l.Addr().(*net.TCPAddr))
	if err != nil {
		t.Fatal(err)
	}
	if far, err = l.AcceptTCP(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close(); far.Close() })
	return near, far
}

// plain hides that a connection is TCP, as TLS does.
type plain struct{ net.Conn }

// ways are both ways in which bytes are moved.
var ways = []struct {
	name string
	pipe func(dst, src *net.TCPConn) *Pipe
}{
	{"spliced", func(dst, src *net.TCPConn) *Pipe { return New(dst, src) }},
	{"copied", func(dst, src *net.TCPConn) *Pipe { return New(plain{dst}, src) }},
}

// await returns when so many bytes wait in a socket.
func await(t *testing.T, c *net.TCPConn, n int) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err == nil {
		err = raw.Read(func(fd uintptr) bool {
			have, err := unix.IoctlGetInt(int(fd), unix.TIOCINQ)
			return err != nil || have >= n
		})
	}
	if err != nil {
		t.Fatal(err)
	}
}

func noise(n int) []byte {
	r, p := rand.NewChaCha8([32]byte{7}), make([]byte, n)
	r.Read(p)
	return p
}

func send(c *net.TCPConn, p []byte) {
	c.Write(p) // whether it arrived is seen where it is read
	c.CloseWrite()
}

// Every byte arrives, in order and once, however much goes at a time; what was moved is
// counted, within the bound of a call; then the end is told and the way back is open.
func TestWholeAndInOrder(t *testing.T) {
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			src, from := pair(t)
			dst, to := pair(t)
			want := noise(3<<20 + 17)
			go send(from, want)
			await(t, src, 2*spliceFrom)
			got := make(chan []byte, 1)
			go func() {
				p, _ := io.ReadAll(to)
				got <- p
			}()
			p := way.pipe(dst, src)
			var moved, most int64
			for {
				n, err := p.Some()
				moved, most = moved+n, max(most, n)
				if err == io.EOF {
					break
				}
				if err != nil || n == 0 {
					t.Fatalf("Some() = %d, %v after %d", n, err, moved)
				}
			}
			// The caller's business: that the end is passed on, and the way back.
			if _, err := to.Write([]byte("back")); err != nil {
				t.Fatal(err)
			}
			if n, err := way.pipe(src, dst).Some(); n != 4 || err != nil {
				t.Errorf("the way back: Some() = %d, %v", n, err)
			}
			back := make([]byte, 4)
			if _, err := io.ReadFull(from, back); err != nil || string(back) != "back" {
				t.Errorf("the way back brought %q, %v", back, err)
			}
			dst.CloseWrite()
			if !bytes.Equal(<-got, want) || moved != int64(len(want)) {
				t.Errorf("%d bytes are said to have been moved of %d, or they are other bytes", moved, len(want))
			}
			if bound := int64(32<<10 + spliceAtOnce); most > bound || (way.name == "spliced") != (most > 32<<10) {
				t.Errorf("a call moved %d bytes, want 32 KiB and, spliced, up to %d", most, bound)
			}
		})
	}
}

// A source that is quiet past its deadline is told apart from a reader that takes
// nothing past its own: after the first a tunnel may go on, after the second bytes are
// lost.
func TestWhoseTimeIsUp(t *testing.T) {
	long := time.Unix(1, 0)
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			src, from := pair(t)
			dst, _ := pair(t)
			p := way.pipe(dst, src)
			src.SetReadDeadline(long)
			if n, err := p.Some(); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("a quiet source: Some() = %d, %v; want its deadline", n, err)
			}
			src.SetReadDeadline(time.Time{})
			dst.SetWriteDeadline(long)
			from.Write([]byte("lost"))
			if _, err := p.Some(); err == nil || err == io.EOF || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("a reader that takes nothing: Some() = %v, want another error than of a quiet source", err)
			}
		})
	}
}

// While a slow reader takes its time, the deadline of the source passes: that is no
// fault of either, and what waits is moved by the next call.
func TestSourceTimesOutBehindASlowReader(t *testing.T) {
	src, from := pair(t)
	dst, to := pair(t)
	want := noise(3 * spliceFrom)
	go send(from, want)
	await(t, src, len(want))
	p := NewFast(dst, src)
	src.SetReadDeadline(time.Unix(1, 0)) // as if it had passed while dst.Write waited
	if n, err := p.splice(); n != 0 || err != nil {
		t.Fatalf("splice() = %d, %v; want nothing moved and no error", n, err)
	}
	if _, err := p.Some(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Some() = %v, want the deadline of the source", err)
	}
	src.SetReadDeadline(time.Time{})
	go func() {
		for {
			if _, err := p.Some(); err != nil {
				dst.CloseWrite()
				return
			}
		}
	}()
	if got, err := io.ReadAll(to); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes came, %v; want the %d that were sent", len(got), err, len(want))
	}
}

// A reader whose own time is up is not a quiet source, in the middle of a call either.
func TestSlowReaderTimesOut(t *testing.T) {
	src, from := pair(t)
	dst, _ := pair(t)
	want := noise(3 * spliceFrom)
	go send(from, want)
	await(t, src, len(want))
	p := NewFast(dst, src)
	dst.SetWriteDeadline(time.Unix(1, 0))
	if _, err := p.splice(); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("splice() = %v, want an error that is not of a quiet source", err)
	}
}

// A reader that is gone is an error and not the end.
func TestReaderGone(t *testing.T) {
	for _, way := range ways {
		src, from := pair(t)
		dst, _ := pair(t)
		dst.CloseWrite()
		from.Write([]byte("x"))
		if n, err := way.pipe(dst, src).Some(); n != 0 || err == nil || err == io.EOF {
			t.Errorf("%s: Some() = %d, %v", way.name, n, err)
		}
	}
}

// A tunnel that moved much and waits holds no buffer and no kernel pipe.
func TestWaitingHoldsNothing(t *testing.T) {
	const tunnels = 24
	type ends struct{ src, from, dst, to *net.TCPConn }
	var all []ends
	for range tunnels {
		var e ends
		e.src, e.from = pair(t)
		e.dst, e.to = pair(t)
		all = append(all, e)
	}
	want := noise(3 * spliceFrom)
	before := descriptors(t)
	var pipes []*Fast
	for _, e := range all {
		p := NewFast(e.dst, e.src)
		pipes = append(pipes, p)
		if _, err := e.from.Write(want); err != nil {
			t.Fatal(err)
		}
		await(t, e.src, len(want))
		if n, err := p.Some(); n != int64(len(want)) || err != nil {
			t.Fatalf("Some() = %d, %v; want all %d at once", n, err, len(want))
		}
		if _, err := io.ReadFull(e.to, make([]byte, len(want))); err != nil {
			t.Fatal(err)
		}
		ready := true
		if err := p.raw.Control(func(fd uintptr) { ready = p.tryRead(fd) }); err != nil || ready || p.buf != nil {
			t.Fatalf("it waits with a buffer in hand (%v), or does not wait: %v, %v", p.buf != nil, ready, err)
		}
	}
	// A kernel pipe is two. Go keeps a few for whoever splices next, and makes more than it
	// needs under the race detector, which has pools forget.
	if grown := descriptors(t) - before; grown >= 2*tunnels {
		t.Errorf("%d idle tunnels hold %d descriptors beside their sockets", len(pipes), grown)
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// A side that is closed, or is none, has no fast way, and nothing panics.
func TestNoFastWay(t *testing.T) {
	a, b := pair(t)
	if NewFast(nil, a) != nil || NewFast(a, nil) != nil {
		t.Error("a fast pipe of nothing")
	}
	p := New(b, a)
	a.Close()
	if n, err := p.Some(); n != 0 || err == nil || err == io.EOF {
		t.Errorf("Some() of a closed source = %d, %v", n, err)
	}
}
