package proxy

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// TestBypassForms: T1, Y15-Y18, Y22, T7. However a request for a blocked host
// is written, the origin does not see it.
func TestBypassForms(t *testing.T) {
	var reached atomic.Value
	o := origin(t, func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/fine") {
			reached.Store(r.Method + " " + r.Host + r.RequestURI)
		}
	})
	b := newBox(t, func(c *Config) {
		for _, odd := range []string{"blocked", "xn--blocked", "test"} {
			c.Resolver.(names)[odd] = []string{"127.0.0.1"}
		}
	})
	port := portOf(t, o)
	get := func(url, headers string) string {
		return "GET " + strings.ReplaceAll(url, "PORT", port) + " HTTP/1.1\r\nHost: open.test\r\nConnection: close\r\n" + headers + "\r\n"
	}
	for name, request := range map[string]string{
		"as it is":                       get("http://blocked.test:PORT/", ""),
		"upper case":                     get("http://BLOCKED.Test:PORT/", ""),
		"scheme in upper case":           get("HTTP://blocked.test:PORT/", ""),
		"trailing dot":                   get("http://blocked.test.:PORT/", ""),
		"two trailing dots":              get("http://blocked.test..:PORT/", ""),
		"below it":                       get("http://a.b.blocked.test:PORT/", ""),
		"user before it":                 get("http://open.test@blocked.test:PORT/", ""),
		"user and password":              get("http://open.test:80@blocked.test:PORT/", ""),
		"two at-signs":                   get("http://a@open.test@blocked.test:PORT/", ""),
		"escaped letters":                get("http://%62locked.test:PORT/", ""),
		"escaped twice":                  get("http://%2562locked.test:PORT/", ""),
		"escaped dot":                    get("http://blocked%2etest:PORT/", ""),
		"full width":                     get("http://ｂｌｏｃｋｅｄ.test:PORT/", ""),
		"ideographic dot":                get("http://blocked。test:PORT/", ""),
		"soft hyphen":                    get("http://block\u00aded.test:PORT/", ""),
		"zero-width space":               get("http://block\u200bed.test:PORT/", ""),
		"NUL":                            get("http://blocked.test\x00.open.test:PORT/", ""),
		"backslash":                      get("http://blocked.test:PORT\\@open.test/", ""),
		"backslash for a slash":          get("http:\\\\blocked.test:PORT/", ""),
		"tab inside":                     get("http://blo\tcked.test:PORT/", ""),
		"fragment":                       get("http://blocked.test:PORT#@open.test/", ""),
		"query":                          get("http://blocked.test:PORT?@open.test/", ""),
		"port with zeros":                get("http://blocked.test:0000"+port+"/", ""),
		"empty user":                     get("http://@blocked.test:PORT/", ""),
		"three slashes":                  get("http:///blocked.test:PORT/", ""),
		"no slashes":                     get("http:blocked.test:PORT/", ""),
		"https in plain":                 get("https://blocked.test:PORT/", ""),
		"ftp":                            get("ftp://blocked.test:PORT/", ""),
		"gopher":                         get("gopher://blocked.test:PORT/", ""),
		"Host of an open site":           get("http://blocked.test:PORT/", "X: y\r\n"),
		"X-Forwarded-Host":               get("http://blocked.test:PORT/", "X-Forwarded-Host: open.test\r\n"),
		"two Hosts":                      get("http://blocked.test:PORT/", "Host: blocked.test\r\n"),
		"HTTP/1.0 without Host":          "GET http://blocked.test:" + port + "/ HTTP/1.0\r\n\r\n",
		"HTTP/0.9":                       "GET http://blocked.test:" + port + "/\r\n",
		"HTTP/2 preface":                 "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"h2c upgrade":                    get("http://blocked.test:PORT/", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"),
		"WebSocket":                      get("http://blocked.test:PORT/", "Connection: Upgrade\r\nUpgrade: websocket\r\n"),
		"TRACE":                          "TRACE http://open.test:" + port + "/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
		"odd method":                     "FETCH http://open.test:" + port + "/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
		"obs-fold":                       "GET http://open.test:" + port + "/fine HTTP/1.1\r\nHost: open.test\r\n blocked.test\r\nConnection: close\r\n\r\n",
		"space before the colon":         "GET http://open.test:" + port + "/ HTTP/1.1\r\nHost : blocked.test\r\n\r\n",
		"pipelined behind an open one":   "GET http://open.test:" + port + "/fine HTTP/1.1\r\nHost: x\r\n\r\n" + get("http://blocked.test:PORT/", ""),
		"second on a kept connection":    "GET http://open.test:" + port + "/fine HTTP/1.1\r\nHost: x\r\n\r\nGET http://blocked.test:" + port + "/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
		"TE.CL":                          "POST http://open.test:" + port + "/fine HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + get("http://blocked.test:PORT/", ""),
		"CL.TE":                          "POST http://open.test:" + port + "/fine HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\nContent-Length: 300\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: blocked.test\r\n\r\n",
		"TE.TE":                          "POST http://open.test:" + port + "/fine HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: blocked.test\r\n\r\n",
		"two lengths":                    "POST http://open.test:" + port + "/ HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: 50\r\n\r\nGET / HTTP/1.1\r\nHost: blocked.test\r\n\r\n",
		"chunk size with a sign":         "POST http://open.test:" + port + "/fine HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n+0\r\n\r\nGET / HTTP/1.1\r\nHost: blocked.test\r\n\r\n",
		"origin-form to the proxy":       "GET / HTTP/1.1\r\nHost: blocked.test:" + port + "\r\nConnection: close\r\n\r\n",
		"origin-form with two slashes":   "GET //blocked.test:" + port + "/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
		"the proxy in the proxy":         get("http://open.test:PORT/fine", "Proxy-Connection: http://blocked.test/\r\n"),
		"header that ends the request":   "GET http://open.test:" + port + "/fine HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX: a\nGET / HTTP/1.1\r\n\r\n",
		"method with a line end":         "GET\r http://blocked.test:" + port + "/ HTTP/1.1\r\nHost: x\r\n\r\n",
		"CONNECT to it":                  "CONNECT blocked.test:443 HTTP/1.1\r\nHost: open.test:443\r\n\r\n",
		"CONNECT in lower case":          "connect open.test:443 HTTP/1.1\r\nHost: open.test:443\r\nConnection: close\r\n\r\n",
		"CONNECT with a path":            "CONNECT open.test:443/../blocked.test:443 HTTP/1.1\r\nHost: x\r\n\r\n",
		"CONNECT with a user":            "CONNECT open.test@blocked.test:443 HTTP/1.1\r\nHost: x\r\n\r\n",
		"CONNECT in absolute form":       "CONNECT http://blocked.test:443/ HTTP/1.1\r\nHost: x\r\n\r\n",
		"CONNECT without a port":         "CONNECT open.test HTTP/1.1\r\nHost: x\r\n\r\n",
		"CONNECT with two ports":         "CONNECT open.test:443:443 HTTP/1.1\r\nHost: x\r\n\r\n",
		"CONNECT to a port in words":     "CONNECT open.test:https HTTP/1.1\r\nHost: x\r\n\r\n",
		"CONNECT past the highest port":  "CONNECT open.test:65979 HTTP/1.1\r\nHost: x\r\n\r\n",
		"CONNECT to a Unix socket's URL": "CONNECT unix:/run/x.sock:443 HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		reply := b.raw(request)
		if got := reached.Swap(""); got != nil && got != "" {
			t.Errorf("%s: the origin saw %q", name, got)
		}
		status := 0
		fmt.Sscanf(reply, "HTTP/1.1 %d", &status)
		switch {
		case strings.Contains(request, "/fine"):
			// The first request may pass; what hides behind it was looked for above.
		case strings.HasPrefix(reply, "HTTP/1.0 4"), reply == "", strings.HasPrefix(reply, "error:"):
		case status < 400:
			t.Errorf("%s: answered %.60q", name, reply)
		}
	}
}

// TestNestedRefused: the refusal, the category and the record are those of the
// page inside.
func TestNestedRefused(t *testing.T) {
	g := newGlass(t, hello, nil)
	resp, err := g.device(g.school, true).Get(g.url("open.test", "/see/https://blocked.test/x"))
	bodyOf(t, resp, err)
	if all := g.events(); resp == nil || resp.StatusCode != 403 || all[len(all)-1] != "inspect open.test/see/https:/blocked.test/x block nested" && all[len(all)-1] != "inspect open.test/see/https://blocked.test/x block nested" {
		t.Errorf("%v, events %q", resp, all)
	}
}
