package proxy

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"

	"golang.org/x/net/http2"

	"schoolgate/proxy/origins"
)

// TestUnread: what a client asks for over HTTP/2 and never takes is not read from its
// origin into our memory, and it cannot ask for more at once than a bound (T6).
func TestUnread(t *testing.T) {
	const bound, streams = 4, 20
	var asked, written atomic.Int64
	g := newGlass(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		piece := make([]byte, 16<<10)
		for r.Context().Err() == nil {
			n, err := w.Write(piece)
			written.Add(int64(n))
			if err != nil {
				return
			}
		}
	}, func(c *Config) { c.Limits.ConnsPerClient = bound })
	c := g.streams(t, 0)
	for id := uint32(1); id < 2*streams; id += 2 {
		c.ask(t, id, fmt.Sprintf("/%d", id))
	}
	answered := func(want int) (last uint32) { // replies begin, and go no further
		for n := 0; n < want; {
			f, err := c.frames.ReadFrame()
			if err != nil {
				t.Fatal(err)
			}
			switch f := f.(type) {
			case *http2.HeadersFrame:
				n, last = n+1, f.StreamID
			case *http2.SettingsFrame:
				if size, ok := f.Value(http2.SettingMaxFrameSize); ok && size > 16<<10 {
					t.Errorf("a client may send frames of %d bytes, of which each connection keeps one", size)
				}
			}
		}
		return last
	}
	last := answered(bound)
	waitFor(t, func() bool { return written.Load() >= bound*origins.ReplyAhead })
	if n := asked.Load(); n != bound {
		t.Errorf("%d requests at work, want %d", n, bound)
	}
	if n, most := written.Load(), int64(bound*(origins.ReplyAhead+64<<10)); n > most {
		t.Errorf("the origin sent %d bytes that nobody takes, want %d at most", n, most)
	}
	if err := c.frames.WriteRSTStream(last, http2.ErrCodeCancel); err != nil { // one gives its turn to the next
		t.Fatal(err)
	}
	answered(1)
	c.conn.Close()
	waitFor(t, func() bool {
		return g.server.gate.Turns() == 0
	})
}
