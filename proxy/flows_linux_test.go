package proxy

import (
	"bytes"
	"io"
	"net"
	"runtime"
	"slices"
	"testing"
	"time"
)

// standing is an origin that takes connections and leaves them to the test.
func standing(t *testing.T) (port string, conns <-chan net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	list := make(chan net.Conn, 256)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			list <- conn
		}
	}()
	_, port, _ = net.SplitHostPort(l.Addr().String())
	return port, list
}

// tunnelTo opens a tunnel that stands: the origin has its hello.
func tunnelTo(t *testing.T, b *box, port string, conns <-chan net.Conn) (client, origin net.Conn) {
	t.Helper()
	hello := clientHelloFor(t, "open.test")
	client, _ = b.connect("open.test:" + port)
	if _, err := client.Write(hello); err != nil {
		t.Fatal(err)
	}
	origin = <-conns
	t.Cleanup(func() { origin.Close() })
	if _, err := io.ReadFull(origin, make([]byte, len(hello))); err != nil {
		t.Fatal(err)
	}
	return client, origin
}

// eventually waits for something that comes to be so.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !so(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it never came to be: %s", what)
		}
	}
}

// TestIdleTunnels: what stands and does not move has no goroutine, and still carries
// bytes both ways, a side's end, and a closing from outside.
func TestIdleTunnels(t *testing.T) {
	const many = 100
	port, conns := standing(t)
	b := newBox(t, func(c *Config) { c.ConnectPorts = []uint16{portNumber(port)} })
	tunnelTo(t, b, port, conns)
	before := runtime.NumGoroutine()
	var clients, origins []net.Conn
	for range many {
		c, o := tunnelTo(t, b, port, conns)
		clients, origins = append(clients, c), append(origins, o)
	}
	eventually(t, "tunnels without goroutines", func() bool { return runtime.NumGoroutine() < before+many/4 })
	for i, c := range clients {
		for _, way := range [][2]net.Conn{{c, origins[i]}, {origins[i], c}} {
			if _, err := io.WriteString(way[0], "hello"); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, 5)
			if _, err := io.ReadFull(way[1], got); err != nil || string(got) != "hello" {
				t.Fatalf("tunnel %d: %q, %v", i, got, err)
			}
		}
	}
	if err := origins[0].(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if n, err := clients[0].Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("the origin said its last: %d, %v, want EOF", n, err)
	}
	if _, err := io.WriteString(clients[0], "more"); err != nil {
		t.Error(err)
	}
	{
		got := make([]byte, 4)
		if _, err := io.ReadFull(origins[0], got); err != nil || string(got) != "more" {
			t.Errorf("after the origin's last: %q, %v", got, err)
		}
	}
	b.school.set("open.test", blockedBy(0))
	b.server.Recheck()
	for i, c := range clients[1:] {
		if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil {
			t.Errorf("tunnel %d goes on after a block: %d, %v", i, n, err)
		}
	}
	eventually(t, "no tunnel", func() bool { return len(b.server.tunnels.list()) == 0 })
}

// TestSlowTunnel: a reader that reads nothing for long gets all, in order, and its
// tunnel is idle again afterwards.
func TestSlowTunnel(t *testing.T) {
	port, conns := standing(t)
	b := newBox(t, func(c *Config) { c.ConnectPorts = []uint16{portNumber(port)} })
	client, origin := tunnelTo(t, b, port, conns)
	parked := func() bool {
		tn := b.server.tunnels.list()[0]
		tn.mu.Lock()
		fl, p := tn.flow, tn.pair
		pair := p != nil && p.stands()
		tn.mu.Unlock()
		if fl == nil {
			return pair // or it does not stand yet
		}
		b.server.flows.mu.Lock()
		defer b.server.flows.mu.Unlock()
		return fl.halves[0].slot != noSlot && fl.halves[1].slot != noSlot
	}
	eventually(t, "a tunnel that stands", parked)
	text := noise(3, 16<<20)
	sent := make(chan error, 1)
	go func() {
		for part := range slices.Chunk(text, 10_000) {
			if _, err := origin.Write(part); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	eventually(t, "a goroutine that waits for the reader", func() bool { return !parked() })
	got := make([]byte, len(text))
	if _, err := io.ReadFull(client, got); err != nil || !bytes.Equal(got, text) {
		t.Errorf("not as sent: %v", err)
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
	eventually(t, "the tunnel idle again", parked)
	if _, err := io.WriteString(origin, "again"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(client, got[:5]); err != nil || string(got[:5]) != "again" {
		t.Errorf("after it was idle: %q, %v", got[:5], err)
	}
}

// TestIdleTunnelEnds: nothing moved for the idle time.
func TestIdleTunnelEnds(t *testing.T) {
	port, conns := standing(t)
	b := newBox(t, func(c *Config) {
		c.ConnectPorts, c.Limits.IdleStream = []uint16{portNumber(port)}, 200*time.Millisecond
	})
	client, origin := tunnelTo(t, b, port, conns)
	for side, c := range map[string]net.Conn{"client": client, "origin": origin} {
		if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil {
			t.Errorf("%s: %d, %v, want the end", side, n, err)
		}
	}
}
