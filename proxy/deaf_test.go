package proxy

import (
	"bytes"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// TestDeafHTTP2: a client that opens all windows, asks for much and then reads nothing is
// hung up on once nothing has moved for the idle time (T6).
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
	conn, err := g.tls("open.test", "open.test", "h2")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	frames := http2.NewFramer(conn, conn)
	var block bytes.Buffer
	header := hpack.NewEncoder(&block)
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	if err := frames.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1<<31 - 1}); err != nil {
		t.Fatal(err)
	}
	if err := frames.WriteWindowUpdate(0, 1<<30); err != nil {
		t.Fatal(err)
	}
	for _, f := range []hpack.HeaderField{{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "https"},
		{Name: ":authority", Value: "open.test:" + g.port}, {Name: ":path", Value: "/"}} {
		if err := header.WriteField(f); err != nil {
			t.Fatal(err)
		}
	}
	if err := frames.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: true}); err != nil {
		t.Fatal(err)
	}
	waitFor(t, asked.Load)
	waitFor(t, func() bool {
		g.server.gate.mu.Lock()
		defer g.server.gate.mu.Unlock()
		return g.server.gate.open == 0
	})
}
