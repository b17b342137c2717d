package bench

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// A handshake costs the two ends, which share the cores with the proxy, several times
// what it costs the proxy to carry it: what is then measured is mostly theirs. So the
// lines for new tunnels come a second time with a handshake that was had once and is
// played back, byte for byte and turn for turn. To a proxy it is the same.
const (
	replayAddr = "203.0.113.11"
	replayHost = "www.replayed.example"
)

// handshake is what both sides of TLS 1.3 say, in turns.
type handshake struct {
	Hello, Flight, Finished, Bye []byte
}

// heard keeps what is written to a connection.
type heard struct {
	net.Conn
	said bytes.Buffer
}

func (h *heard) Write(p []byte) (int, error) {
	h.said.Write(p)
	return h.Conn.Write(p)
}

// shakeHands has a handshake, and leaves it for the process that is the origin.
func shakeHands(t *testing.T, dir string, origins *authority, trust *x509.CertPool) {
	t.Helper()
	leaf, err := origins.leaf(replayHost)
	if err != nil {
		t.Fatal(err)
	}
	a, b := net.Pipe()
	client, server := &heard{Conn: a}, &heard{Conn: b}
	s := tls.Server(server, &tls.Config{Certificates: []tls.Certificate{leaf}, NextProtos: []string{"http/1.1"}})
	var wait sync.WaitGroup
	wait.Go(func() {
		if _, err := s.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("handshake: %v", err)
		}
	})
	if _, err := (browser{trust: trust}).secure(client, replayHost); err != nil {
		t.Fatal(err)
	}
	said := client.said.Bytes()
	first := 5 + int(said[3])<<8 + int(said[4])
	h := handshake{Hello: said[:first], Finished: said[first:], Flight: bytes.Clone(server.said.Bytes())}
	a.Close()
	wait.Wait()
	h.Bye = []byte{21, 3, 3, 0, 19, 18: 0, 23: 0} // an alert in cipher, as long as close_notify
	text, err := json.Marshal(h)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "handshake"), text, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func readHandshake(dir string) (h handshake, err error) {
	text, err := os.ReadFile(filepath.Join(dir, "handshake"))
	if err == nil {
		err = json.Unmarshal(text, &h)
	}
	return h, err
}

// threads is how many may wait in the kernel at once, each on a thread of its own: that
// costs the least.
const threads = 16

// runReplay is the origin's side. Its threads take turns at one listener.
func runReplay(t *testing.T, dir string) {
	runtime.GOMAXPROCS(2 * threads)
	h, err := readHandshake(dir)
	if err != nil {
		t.Fatal(err)
	}
	fd := socket(t)
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(fd, sockaddr(replayAddr, 443)); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 1024); err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	for range threads {
		wait.Go(func() {
			buf := make([]byte, 16<<10)
			for {
				c, _, err := unix.Accept(fd)
				if err != nil {
					return
				}
				h.answer(c, buf)
				unix.Close(c)
				runtime.Gosched()
			}
		})
	}
	wait.Wait()
}

func (h *handshake) answer(c int, buf []byte) {
	if readFull(c, buf[:len(h.Hello)]) != nil || writeFull(c, h.Flight) != nil || readFull(c, buf[:len(h.Finished)]) != nil {
		return
	}
	if n, err := unix.Read(c, buf); n == 0 && err == nil {
		_ = writeFull(c, h.Bye) // to one that may have gone
	}
}

func socket(t *testing.T) int {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

func sockaddr(addr string, port int) *unix.SockaddrInet4 {
	return &unix.SockaddrInet4{Addr: netip.MustParseAddr(addr).As4(), Port: port}
}

func readFull(fd int, p []byte) error {
	for len(p) > 0 {
		n, err := unix.Read(fd, p)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n == 0 {
			return fmt.Errorf("read: %d, %v", n, err)
		}
		p = p[n:]
	}
	return nil
}

func writeFull(fd int, p []byte) error {
	for len(p) > 0 {
		n, err := unix.Write(fd, p)
		if err != nil && err != unix.EINTR {
			return err
		}
		p = p[max(n, 0):]
	}
	return nil
}

// replayed opens tunnels, by a CONNECT to a proxy or straight to the origin, and has the
// handshake in each.
func (b browser) replayed(dir, proxy string) work {
	from, to := sockaddr(b.from, 0), sockaddr(replayAddr, 443)
	var request []byte
	if proxy != "" {
		addr := netip.MustParseAddrPort(proxy)
		to = sockaddr(addr.Addr().String(), int(addr.Port()))
		request = []byte("CONNECT " + replayHost + ":443 HTTP/1.1\r\nHost: " + replayHost + ":443\r\n\r\n")
	}
	return func() (func() error, func(), error) {
		h, err := readHandshake(dir)
		buf := make([]byte, 16<<10)
		return func() error { return h.ask(from, to, request, buf) }, func() {}, err
	}
}

func (h *handshake) ask(from, to unix.Sockaddr, request, buf []byte) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	defer runtime.Gosched() // which Go counts by
	defer unix.Close(fd)
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 10}); err != nil {
		return err
	}
	if err := unix.Bind(fd, from); err != nil {
		return err
	}
	if err := unix.Connect(fd, to); err != nil {
		return err
	}
	if request != nil {
		if err := writeFull(fd, request); err != nil {
			return err
		}
		for n := 0; n < 4 || !bytes.HasSuffix(buf[:n], []byte("\r\n\r\n")); {
			m, err := unix.Read(fd, buf[n:])
			if err != nil || m == 0 {
				return fmt.Errorf("CONNECT: %q, %d, %v", buf[:n], m, err)
			}
			n += m
		}
		if !bytes.HasPrefix(buf[9:], []byte("200")) {
			return fmt.Errorf("CONNECT: %.30q", buf)
		}
	}
	if err := writeFull(fd, h.Hello); err != nil {
		return err
	}
	if err := readFull(fd, buf[:len(h.Flight)]); err != nil {
		return err
	}
	if !bytes.Equal(buf[:len(h.Flight)], h.Flight) {
		return fmt.Errorf("the handshake came otherwise than it was sent")
	}
	return writeFull(fd, h.Finished)
}
