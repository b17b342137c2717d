package testkit

import (
	"io"
	"net"
	"sync"
	"testing"
)

// Line is a line to a TCP server. Cut, it carries nothing of what is open and tells
// nobody, as when a router forgets the connections it knew; what is opened then passes.
type Line struct {
	Addr string // host:port, in the server's place

	to string
	wg sync.WaitGroup

	mu     sync.Mutex
	silent chan struct{} // closed at the next cut
	open   []net.Conn
	closed bool
}

// NewLine makes a line to a server, until the test is over.
func NewLine(t testing.TB, to string) *Line {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &Line{Addr: listener.Addr().String(), to: to, silent: make(chan struct{})}
	l.wg.Go(func() { l.accept(listener) })
	t.Cleanup(func() {
		_ = listener.Close() // the test is over either way
		l.mu.Lock()
		l.closed = true
		for _, c := range l.open {
			_ = c.Close()
		}
		l.mu.Unlock()
		l.wg.Wait()
	})
	return l
}

// Cut silences every connection that is open.
func (l *Line) Cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.silent)
	l.silent = make(chan struct{})
}

// Opened is how many connections were made.
func (l *Line) Opened() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.open) / 2
}

func (l *Line) accept(listener net.Listener) {
	for {
		client, err := listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", l.to)
		if err != nil {
			_ = client.Close()
			continue
		}
		l.mu.Lock()
		if l.closed {
			_, _ = client.Close(), server.Close()
			l.mu.Unlock()
			return
		}
		l.open = append(l.open, client, server)
		silent := l.silent
		l.mu.Unlock()
		l.wg.Go(func() { carry(client, server, silent) })
		l.wg.Go(func() { carry(server, client, silent) })
	}
}

// carry carries one way, and once the line is cut swallows what comes.
func carry(from, to net.Conn, silent <-chan struct{}) {
	buf := make([]byte, 16<<10)
	for {
		n, err := from.Read(buf)
		select {
		case <-silent:
			_, _ = io.Copy(io.Discard, from)
			return
		default:
		}
		if _, werr := to.Write(buf[:n]); err != nil || werr != nil {
			_, _ = from.Close(), to.Close()
			return
		}
	}
}
