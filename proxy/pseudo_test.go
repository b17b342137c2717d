package proxy

import (
	"bytes"
	"crypto/tls"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// TestPseudoHeaders: T7, Y18, Y31. Requests on HTTP/2 inside TLS that no browser
// writes are refused or come to nothing, and none changes what an origin is asked.
func TestPseudoHeaders(t *testing.T) {
	type fields [][2]string
	usual := func(more ...[2]string) fields {
		return append(fields{{":method", "GET"}, {":scheme", "https"}, {":authority", "A"}, {":path", "/"}}, more...)
	}
	for _, c := range []struct {
		name   string
		fields fields
		body   string
	}{
		{"two authorities", fields{{":method", "GET"}, {":scheme", "https"}, {":authority", "A"}, {":authority", "blocked.test"}, {":path", "/"}}, ""},
		{"another Host", usual([2]string{"host", "blocked.test"}), ""},
		{"another authority", fields{{":method", "GET"}, {":scheme", "https"}, {":authority", "blocked.test"}, {":path", "/"}}, ""},
		{"an authority with a user", fields{{":method", "GET"}, {":scheme", "https"}, {":authority", "A@blocked.test"}, {":path", "/"}}, ""},
		{"two paths", fields{{":method", "GET"}, {":scheme", "https"}, {":authority", "A"}, {":path", "/"}, {":path", "/other"}}, ""},
		{"no path", fields{{":method", "GET"}, {":scheme", "https"}, {":authority", "A"}}, ""},
		{"an absolute path", fields{{":method", "GET"}, {":scheme", "https"}, {":authority", "A"}, {":path", "https://blocked.test/"}}, ""},
		{"a path with a line break", fields{{":method", "GET"}, {":scheme", "https"}, {":authority", "A"}, {":path", "/ HTTP/1.1\r\nHost: blocked.test\r\n\r\n"}}, ""},
		{"a method with a space", fields{{":method", "GET /x HTTP/1.1\r\n"}, {":scheme", "https"}, {":authority", "A"}, {":path", "/"}}, ""},
		{"a pseudo-header at the end", fields{{":method", "GET"}, {":scheme", "https"}, {":path", "/"}, {"x", "y"}, {":authority", "A"}}, ""},
		{"a pseudo-header that is none", usual([2]string{":origin", "x"}), ""},
		{"an upper-case name", usual([2]string{"X-Upper", "x"}), ""},
		{"a name with a colon", usual([2]string{"x: y\r\nz", "x"}), ""},
		{"a value with a line break", usual([2]string{"x", "y\r\nTransfer-Encoding: chunked"}), ""},
		{"a value with NUL", usual([2]string{"x", "y\x00z"}), ""},
		{"a coding", usual([2]string{"transfer-encoding", "chunked"}), "0\r\n\r\nGET / HTTP/1.1\r\n\r\n"},
		{"a connection", usual([2]string{"connection", "upgrade"}, [2]string{"upgrade", "h2c"}), ""},
		{"a length that is not the body's", usual([2]string{"content-length", "3"}), "much longer than three"},
		{"two lengths", usual([2]string{"content-length", "1"}, [2]string{"content-length", "2"}), "xx"},
		{"CONNECT", fields{{":method", "CONNECT"}, {":authority", "blocked.test:443"}}, ""},
		{"CONNECT for a WebSocket", fields{{":method", "CONNECT"}, {":protocol", "websocket"}, {":scheme", "https"}, {":authority", "A"}, {":path", "/"}}, ""},
		{"TRACE", fields{{":method", "TRACE"}, {":scheme", "https"}, {":authority", "A"}, {":path", "/"}}, ""},
		{"plain http", fields{{":method", "GET"}, {":scheme", "http"}, {":authority", "A"}, {":path", "/"}}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var mu sync.Mutex
			var reached []string
			g := newGlass(t, func(_ http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					reached = append(reached, r.Method+" "+r.Host+r.RequestURI+" "+strings.Join(r.TransferEncoding, ",")+r.Header.Get("Upgrade")+" "+string(body))
				}
			}, nil)
			authority := "open.test:" + g.port
			status := askHTTP2(t, g, authority, c.fields, c.body)
			g.stop()
			mu.Lock()
			defer mu.Unlock()
			// Go's server reads an odd request in one way or not at all; what it reads is
			// written anew. An origin may see the plain request, and nothing else.
			for _, r := range reached {
				if strings.TrimSpace(r) != "GET "+authority+"/" {
					t.Errorf("the origin got %q", r)
				}
			}
			if len(reached) > 1 || status == "200" && len(reached) == 0 {
				t.Errorf("status %s, the origin got %q", status, reached)
			}
			for _, e := range g.journal.all() {
				if e.Host == "blocked.test" && e.Verdict.String() == "allow" {
					t.Errorf("event %+v", e)
				}
			}
		})
	}
}

// askHTTP2 sends one request as it is told and gives the status, or how it ended.
func askHTTP2(t *testing.T, g *glass, authority string, fields [][2]string, body string) string {
	conn, _ := g.connect(authority)
	c := tls.Client(conn, &tls.Config{RootCAs: g.school, ServerName: "open.test", NextProtos: []string{"h2"}})
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	io.WriteString(c, http2.ClientPreface)
	f := http2.NewFramer(c, c)
	f.AllowIllegalWrites = true
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	f.WriteSettings()
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for _, field := range fields {
		value := field[1]
		if strings.HasPrefix(value, "A") {
			value = authority + value[1:]
		}
		enc.WriteField(hpack.HeaderField{Name: field[0], Value: value})
	}
	f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: body == ""})
	if body != "" {
		f.WriteData(1, true, []byte(body))
	}
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return err.Error()
		}
		switch frame := frame.(type) {
		case *http2.MetaHeadersFrame:
			return frame.PseudoValue("status")
		case *http2.RSTStreamFrame:
			return frame.ErrCode.String()
		case *http2.GoAwayFrame:
			return "going away: " + frame.ErrCode.String()
		}
	}
}
