package main

import (
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"schoolgate/internal/testkit"
)

// A teacher signs in on a pupil's tablet and gets a teacher's web, in the teacher's
// name on the record; a guess gets the tablet's, and so does the teacher once removed
// (issue 4 item 7, T20).
func TestSignInOnATablet(t *testing.T) {
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "seen by the origin: "+r.Header.Get("Proxy-Authorization"))
	}))
	defer origin.Close()
	port := origin.URL[strings.LastIndex(origin.URL, ":")+1:]
	upstream := testkit.NewUpstream(t, "staffroom.example. 60 IN A 127.0.0.1")
	school := strings.Replace(testkit.SchoolPolicy, "    uncategorised: allow\n", "    uncategorised: allow\n    sign_in: allowed\n", 1)
	school = strings.Replace(school, "exceptions:\n", "exceptions:\n  - {block: staffroom.example, for: {profile: ks2}, reason: a test, by: a test}\n", 1)
	b := testkit.NewBox(t, testkit.BoxOptions{Upstream: upstream.Addr, Policy: school})
	config, err := os.ReadFile(b.Config)
	if err != nil {
		t.Fatal(err)
	}
	secure := "127.0.0.1:" + strconv.Itoa(testkit.FreePorts(t, 1)[0])
	b.Write("schoolgate.yaml", strings.Replace(string(config), "proxy:\n", "proxy:\n  tls_listen: [\""+secure+"\"]\n", 1))
	b.Run("ca", "init")
	b.Run("ca", "export", "--out", filepath.Join(b.Dir, "for-devices"))
	said := b.Run("people", "add", "j.smith", "--group", "office")
	password := strings.Fields(strings.TrimPrefix(said, "The password of j.smith is "))[0]
	b.Start()
	defer b.Stop()

	tablet := func(user *url.Userinfo) *http.Client {
		c := b.Client("127.0.0.1")
		tr := c.Transport.(*http.Transport)
		tr.Proxy = func(*http.Request) (*url.URL, error) { return &url.URL{Scheme: "https", Host: secure, User: user}, nil }
		tr.TLSClientConfig = &tls.Config{RootCAs: certificatesOf(t, filepath.Join(b.Dir, "for-devices", "school-ca-1.pem"))}
		return c
	}
	site := "http://staffroom.example:" + port + "/"
	teacher := url.UserPassword("j.smith", password)
	for _, c := range []struct {
		promise string
		user    *url.Userinfo
		status  int
		says    string
	}{
		{"nobody", nil, 403, "This page is closed"},
		{"a guess", url.UserPassword("j.smith", "a guess of mine"), 403, "This page is closed"},
		{"the teacher", teacher, 200, "seen by the origin: "},
	} {
		if got := fetch(t, tablet(c.user), site); got.status != c.status || !strings.Contains(got.body, c.says) || strings.Contains(got.body, "Basic") {
			t.Errorf("%s: %d %q, want %d %q", c.promise, got.status, got.body, c.status, c.says)
		}
	}
	if out := b.Run("audit", "export"); !strings.Contains(out, ",j.smith,") || strings.Contains(out, password) {
		t.Errorf("audit export: %s", out)
	}
	if got := fetch(t, tablet(nil), "http://sign-in.internal/"); got.status != 407 {
		t.Errorf("the place to sign in: %+v", got)
	}
	b.Run("people", "remove", "j.smith")
	for end := time.Now().Add(10 * time.Second); ; {
		got := fetch(t, tablet(teacher), site)
		if got.status == 403 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the teacher was removed and gets %+v", got)
		}
	}
}
