package proxy

import (
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"
)

// line is the line to an origin: cut, it carries nothing and nobody is told, as when a
// router forgets the connections it knew.
type line struct {
	net.Listener
	to string

	mu    sync.Mutex
	cut   bool
	conns int
}

func (l *line) run() {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		o, err := net.Dial("tcp", l.to)
		if err != nil {
			c.Close()
			continue
		}
		l.mu.Lock()
		l.conns++
		after := l.cut
		l.mu.Unlock()
		for _, way := range [][2]net.Conn{{c, o}, {o, c}} {
			go func() {
				buf := make([]byte, 16<<10)
				for {
					n, err := way[0].Read(buf)
					l.mu.Lock()
					dead := l.cut && !after
					l.mu.Unlock()
					if dead {
						io.Copy(io.Discard, way[0])
						return
					}
					if err != nil {
						way[1].Close()
						return
					}
					way[1].Write(buf[:n])
				}
			}()
		}
	}
}

// TestSilentOrigin: when the line to an origin has silently died, the connection kept to
// it is found dead, and what is asked then goes by a new one.
func TestSilentOrigin(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	g := newGlass(t, hello, func(c *Config) {
		c.ConnectPorts = append(c.ConnectPorts, uint16(number))
		c.Limits.OriginReply = 500 * time.Millisecond
	})
	l := &line{Listener: listener, to: g.origin.Listener.Addr().String()}
	go l.run()
	device := g.device(g.school, true)
	ask := func() (*http.Response, error) { return device.Get("https://open.test:" + port + "/") }
	resp, err := ask()
	if got := bodyOf(t, resp, err); got != "hello from the origin" {
		t.Fatal(got)
	}
	l.mu.Lock()
	l.cut = true
	l.mu.Unlock()
	var got string
	for end := time.Now().Add(10 * time.Second); got != "hello from the origin" && time.Now().Before(end); {
		resp, err := ask()
		got = bodyOf(t, resp, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if got != "hello from the origin" || l.conns != 2 {
		t.Errorf("%q by %d connections, want the page by the second", got, l.conns)
	}
}
