package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// TestWhatAnOriginMayNotSay: a way round by HTTP/3 (Y7), or a reference of ours, is not
// passed on from where else an origin can write headers: a 1xx, a 101, trailers.
func TestWhatAnOriginMayNotSay(t *testing.T) {
	handler := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Alt-Svc", `h3=":443"`)
		w.Header().Set(EventHeader, "forged")
		if r.Header.Get("Upgrade") != "" {
			if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
				fmt.Fprint(conn, "HTTP/1.1 101 Switching Protocols\r\nAlt-Svc: h3=\":443\"\r\n"+EventHeader+": forged\r\n\r\n")
				conn.Close()
			}
			return
		}
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Set("Trailer", "X-Sum, Alt-Svc, "+EventHeader)
		w.WriteHeader(http.StatusOK)
		io.WriteString(w, "body")
		w.Header().Set("X-Sum", "42")
		for _, name := range []string{"Alt-Svc", EventHeader, "Connection"} { // not announced
			w.Header().Set(http.TrailerPrefix+name, "forged")
		}
	}
	g := newGlass(t, handler, nil)
	plain := origin(t, handler)
	for name, talk := range map[string]func(header string) string{
		"in clear": func(header string) string {
			return g.raw("GET http://open.test:" + portOf(t, plain) + "/ HTTP/1.1\r\nHost: x\r\n" + header + "\r\n\r\n")
		},
		"inside": func(header string) string {
			conn, err := g.tls("open.test", "open.test", "http/1.1")
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: open.test:%s\r\n%s\r\n\r\n", g.port, header)
			reply, _ := io.ReadAll(conn)
			return string(reply)
		},
	} {
		for _, header := range []string{"Connection: close", "Connection: Upgrade\r\nUpgrade: websocket"} {
			got := talk(header)
			if strings.Contains(got, "Alt-Svc: ") || strings.Contains(got, "forged") || strings.Count(got, EventHeader+": SG-") != 1 {
				t.Errorf("%s, %s:\n%s", name, header, got)
			}
			if header == "Connection: close" && !strings.Contains(got, "\r\nX-Sum: 42\r\n") {
				t.Errorf("%s: the trailer is lost:\n%s", name, got)
			}
		}
	}
	resp, err := g.device(g.school, true).Get(g.url("open.test", "/"))
	if bodyOf(t, resp, err); len(resp.Trailer) != 1 || resp.Trailer.Get("X-Sum") != "42" || len(resp.Header[EventHeader]) != 1 || resp.Header.Get("Alt-Svc") != "" {
		t.Errorf("HTTP/2 inside: %v, trailer %v", resp.Header, resp.Trailer)
	}
}

// TestWhatAClientMayNotSay: trailers of a request tell an origin no more than its head
// does: no password of ours, nobody's address, no account or safety mode (T20, 4.3).
func TestWhatAClientMayNotSay(t *testing.T) {
	heard := make(chan http.Header, 1)
	handler := func(_ http.ResponseWriter, r *http.Request) {
		_, err := io.Copy(io.Discard, r.Body)
		if err != nil {
			r.Trailer = http.Header{"error": {err.Error()}}
		}
		heard <- r.Trailer
	}
	g := newGlass(t, handler, nil)
	plain := origin(t, handler)
	bad := []string{"Proxy-Authorization", "X-Forwarded-For", "Youtube-Restrict", "Host", "Connection", EventHeader}
	for _, announced := range []string{"X-Sum", "X-Sum, " + strings.Join(bad, ", ")} {
		tail := "Transfer-Encoding: chunked\r\nTrailer: " + announced + "\r\nConnection: close\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 42\r\n"
		for _, name := range bad {
			tail += name + ": forged\r\n"
		}
		tail += "\r\n"
		for name, open := range map[string]func() (conn net.Conn, site, host string){
			"in clear": func() (net.Conn, string, string) {
				return g.dial(), "http://open.test:" + portOf(t, plain), "x"
			},
			"inside": func() (net.Conn, string, string) {
				conn, err := g.tls("open.test", "open.test", "http/1.1")
				if err != nil {
					t.Fatal(err)
				}
				return conn, "", "open.test:" + g.port
			},
		} {
			conn, site, host := open()
			fmt.Fprintf(conn, "POST %s/ HTTP/1.1\r\nHost: %s\r\n%s", site, host, tail)
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil || resp.StatusCode != http.StatusOK {
				t.Fatalf("%s, announced %q: %v, %v", name, announced, resp, err)
			}
			if got := <-heard; len(got) != 1 || !slices.Equal(got["X-Sum"], []string{"42"}) {
				t.Errorf("%s, announced %q: the origin heard %v, want X-Sum alone", name, announced, got)
			}
		}
	}
}
