package proxy

import (
	"bufio"
	"net/http"
	"strings"
	"testing"

	"schoolgate/policy"
)

// FuzzTarget: whatever request Go's parser accepts, either it is refused or the
// host that was judged is the host that is asked, in one spelling.
func FuzzTarget(f *testing.F) {
	for _, uri := range []string{
		"http://open.test/", "http://a@b.test/", "http://%62.test/", "http://ｂ.test/", "http://0x7f.1/",
		"http://[::1%25eth0]/", "http://a.test:0080/x?y#z", "http:a.test", "HTTP://A.Test./../x",
	} {
		f.Add("GET", uri)
		f.Add("CONNECT", strings.TrimPrefix(uri, "http://"))
	}
	s := &Server{}
	f.Fuzz(func(t *testing.T, method, uri string) {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(method + " " + uri + " HTTP/1.1\r\nHost: x\r\n\r\n")))
		if err != nil {
			return
		}
		if r.Method == http.MethodConnect {
			if c := s.connectTarget(r); c.refused == policy.ReasonNotReady && (c.Host.IsZero() || strings.ContainsAny(c.Host.String(), "@/%\\ ")) {
				t.Errorf("CONNECT %q taken as %q", uri, c.Host)
			}
			return
		}
		if !r.URL.IsAbs() {
			return
		}
		c := s.plainTarget(r)
		if c.refused != policy.ReasonNotReady {
			return
		}
		outgoing(r, &c, &policy.Ruling{})
		sent, err := policy.ParseURL("http://" + r.Host + "/")
		if err != nil || sent.Host != c.Host || r.URL.Host != r.Host || r.URL.User != nil {
			t.Errorf("%q judged as %q, sent to %q with Host %q", uri, c.Host, r.URL.Host, r.Host)
		}
	})
}
