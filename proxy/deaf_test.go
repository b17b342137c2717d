package proxy

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// TestDeafHTTP2: a client that opens all windows, asks for much and then reads nothing is
// hung up on once nothing has moved for the idle time (T6), or 5 s later: so long
// crypto/tls tries to take its leave of a client when no write was under way.
func TestDeafHTTP2(t *testing.T) {
	var asked atomic.Bool
	g := newGlass(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Store(true)
		for r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
	}, func(c *Config) { c.Limits.IdleStream, c.Limits.IdleClient = time.Second, time.Second })
	c := g.streams(t, 1<<31-1)
	if err := c.frames.WriteWindowUpdate(0, 1<<30); err != nil {
		t.Fatal(err)
	}
	c.ask(t, 1, "/")
	waitFor(t, asked.Load)
	waitFor(t, func() bool {
		return g.server.gate.Open() == 0
	})
}

// streams is a client of HTTP/2 inside TLS that does nothing by itself.
type streams struct {
	conn      net.Conn
	frames    *http2.Framer
	block     bytes.Buffer
	header    *hpack.Encoder
	authority string
}

// streams connects, with a window of so many bytes for each stream.
func (g *glass) streams(t *testing.T, window uint32) *streams {
	t.Helper()
	conn, err := g.tls("open.test", "open.test", "h2")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	c := &streams{conn: conn, frames: http2.NewFramer(conn, conn), authority: "open.test:" + g.port}
	c.header = hpack.NewEncoder(&c.block)
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	if err := c.frames.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: window}); err != nil {
		t.Fatal(err)
	}
	return c
}

// ask asks for a path.
func (c *streams) ask(t *testing.T, id uint32, path string) {
	t.Helper()
	c.block.Reset()
	for _, f := range []hpack.HeaderField{{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "https"},
		{Name: ":authority", Value: c.authority}, {Name: ":path", Value: path}} {
		if err := c.header.WriteField(f); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.frames.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: c.block.Bytes(), EndHeaders: true, EndStream: true}); err != nil {
		t.Fatal(err)
	}
}
