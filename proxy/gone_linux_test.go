package proxy

import (
	"bytes"
	"io"
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// reset closes a connection as a program that is killed does: the other side gets a
// reset behind what was sent.
func reset(t *testing.T, c net.Conn) {
	t.Helper()
	if err := c.(*net.TCPConn).SetLinger(0); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestGoneClients: what a client asked for is in the journal, also if it was gone before
// we came to it.
func TestGoneClients(t *testing.T) {
	for _, c := range []struct{ name, say, host, finding string }{
		{"a request", "GET http://blocked.test/ HTTP/1.1\r\nHost: x\r\n\r\n", "blocked.test", ""},
		{"a CONNECT", "CONNECT blocked.test:443 HTTP/1.1\r\nHost: x\r\n\r\n", "blocked.test", ""},
		{"no request", "no such thing\r\n\r\n", "", findingMalformed},
		{"a hello", string(clientHelloFor(t, "blocked.test")), "blocked.test", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBox(t, func(cfg *Config) {
				if c.say[0] == 22 {
					meantFor("198.51.100.7:443")(cfg)
				}
			})
			doors := b.server.doors
			b.addr = doors[len(doors)-1].listener.Addr().String()
			e := entranceOf(t, b)
			e.mu.Lock() // nobody is let in before the client has gone
			conn := b.dial()
			if _, err := io.WriteString(conn, c.say); err != nil {
				t.Error(err)
			}
			reset(t, conn)
			e.mu.Unlock()
			eventually(t, "a record", func() bool { return len(b.journal.all()) > 0 })
			if e := b.journal.all()[0]; e.Host != c.host || e.Finding != c.finding || e.Status == 0 {
				t.Errorf("recorded: %+v", e)
			}
		})
	}
}

// entranceOf is what accepts at the last door.
func entranceOf(t *testing.T, b *box) *entrance {
	t.Helper()
	l := b.server.doors[len(b.server.doors)-1].listener.(*listener)
	var e *entrance
	eventually(t, "a door that is open", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		e = l.entrance
		return e != nil
	})
	return e
}

// TestGoneOrigin: what an origin sent before it broke off reaches the client.
func TestGoneOrigin(t *testing.T) {
	const much = 3 * muchAtOnce / 2
	port, conns := standing(t)
	b := newBox(t, func(c *Config) { c.ConnectPorts = []uint16{portNumber(port)} })
	client, origin := tunnelTo(t, b, port, conns)
	tn := b.only()
	eventually(t, "a tunnel that stands", tn.stands)
	text := noise(4, much)
	tn.mu.Lock() // nothing is moved before the origin has gone
	fd := tn.pair.origin.fd
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 4*much); err != nil {
		t.Error(err)
	}
	if _, err := origin.Write(text); err != nil {
		t.Error(err)
	}
	eventually(t, "all has come", func() bool {
		n, err := unix.IoctlGetInt(fd, unix.TIOCINQ)
		return err != nil || n == much
	})
	reset(t, origin)
	tn.mu.Unlock()
	if got, err := io.ReadAll(client); err != nil || !bytes.Equal(got, text) {
		t.Errorf("%d bytes, %v, want %d", len(got), err, much)
	}
}

// TestNoDescriptorLeft: F14. A tunnel that stands goes on where there are no descriptors
// left, also if it needs a goroutine.
func TestNoDescriptorLeft(t *testing.T) {
	const much = 4 << 20
	port, conns := standing(t)
	b := newBox(t, func(c *Config) { c.ConnectPorts = []uint16{portNumber(port)} })
	client, origin := tunnelTo(t, b, port, conns)
	eventually(t, "a tunnel that stands", b.only().stands)
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	few := unix.Rlimit{Cur: uint64(b.server.flows.epoll) + 100, Max: was.Max}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &few); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
			t.Error(err)
		}
	}()
	for {
		fd, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 0)
		if err == unix.EMFILE {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
	}
	text := noise(5, much)
	sent := make(chan error, 1)
	go func() {
		_, err := origin.Write(text)
		sent <- err
	}()
	got := make([]byte, much)
	if n, err := io.ReadFull(client, got); err != nil || !bytes.Equal(got, text) {
		t.Errorf("%d bytes, %v, want %d", n, err, much)
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
	if b.only().isPair() {
		t.Error("it needed no goroutine")
	}
}
