package blocklists

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"schoolgate/internal/testkit"
	"schoolgate/policy"
)

// names answers for the names of a test, and nobody else does.
type names map[string]string

func (n names) LookupHost(_ context.Context, name string) ([]netip.Addr, error) {
	if a, ok := n[name]; ok {
		return []netip.Addr{netip.MustParseAddr(a)}, nil
	}
	return nil, fmt.Errorf("no such name %q", name)
}

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

func testFetcher(t *testing.T, s *testkit.FeedServer) *Fetcher {
	t.Helper()
	f := NewFetcher(FetchOptions{
		Roots: s.Roots, Allow: loopback, Window: 2 * time.Second, Slowest: 1024,
		Resolver: names{"printer.inside.test": "10.1.2.3", "feeds.example": "127.0.0.1", "rebound.test": "127.0.0.1"},
	})
	t.Cleanup(f.Close)
	return f
}

func remoteFeed(name, address string) Feed {
	return Feed{
		Name: name, Format: Domains, Category: policy.Gambling, Kind: Public, Enabled: true, Licence: "test",
		Remote: Remote{URL: address, MaxSize: 32 << 20, Timeout: 5 * time.Minute},
	}
}

func testCache(t *testing.T) *Cache {
	t.Helper()
	c, err := OpenCache(filepath.Join(t.TempDir(), "feeds"))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func update(t *testing.T, c *Cache, from *Fetcher, o UpdateOptions, feeds ...Feed) Outcome {
	t.Helper()
	return c.Update(t.Context(), from, feeds, o)[0]
}

// F8, T16: whatever a publisher sends, the copy at hand stays, byte for byte, and
// the state says why.
func TestAHostileFeedChangesNothingButTheReport(t *testing.T) {
	server := testkit.Feeds(t)
	for _, hostile := range testkit.HostileFeeds() {
		t.Run(hostile.Name, func(t *testing.T) {
			t.Parallel()
			c, from := testCache(t), testFetcher(t, server)
			good := hostile.Name + "-good"
			server.Set(good, testkit.GoodList(100))
			feed := remoteFeed("list", server.URL+"/"+good)
			if got := update(t, c, from, UpdateOptions{}, feed); got.Err != nil || !got.Changed {
				t.Fatalf("the good copy: %+v", got)
			}
			before := readCopy(t, c, &feed)
			feed.Remote.URL = server.URL + "/" + hostile.Name
			got := update(t, c, from, UpdateOptions{Force: true}, feed)
			if got.Err == nil || got.Changed {
				t.Fatalf("Update(%s) = changed %v, %v; want a refusal", hostile.Name, got.Changed, got.Err)
			}
			if !strings.Contains(got.Err.Error(), hostile.Want) {
				t.Errorf("Update(%s) = %v, want %q in it", hostile.Name, got.Err, hostile.Want)
			}
			state, err := c.State(&feed)
			if err != nil || state.Failures != 1 || state.Outcome == "" || state.Good.Entries != 100 {
				t.Errorf("state after it: %+v, %v", state, err)
			}
			if after := readCopy(t, c, &feed); after != before {
				t.Errorf("the copy changed: %d bytes, were %d", len(after), len(before))
			}
			if left, _ := filepath.Glob(filepath.Join(c.folder("list"), "*"+partEnd)); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func readCopy(t *testing.T, c *Cache, f *Feed) string {
	t.Helper()
	read, missing := c.Read(*f, nil)
	if missing {
		t.Fatal("no copy")
	}
	b, err := os.ReadFile(read[0].Path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// A whole top-level domain in a good list is left out of it, and the rest stays.
func TestComAsAnEntryIsRefusedAlone(t *testing.T) {
	server, c := testkit.Feeds(t), testCache(t)
	server.Set("list", testkit.GoodList(100)+"com\n")
	got := update(t, c, testFetcher(t, server), UpdateOptions{}, remoteFeed("list", server.URL+"/list"))
	if got.Err != nil || got.State.Good.Entries != 100 {
		t.Errorf("Update = %+v", got)
	}
}

func TestAnUnchangedListIsNotSentAgain(t *testing.T) {
	server, c := testkit.Feeds(t), testCache(t)
	from, feed := testFetcher(t, server), remoteFeed("list", server.URL+"/list")
	server.Set("list", testkit.GoodList(100))
	first := update(t, c, from, UpdateOptions{}, feed)
	second := update(t, c, from, UpdateOptions{}, feed)
	if second.Err != nil || second.Changed || second.State.Outcome != "unchanged" {
		t.Fatalf("second look: %+v", second)
	}
	if !second.State.Fresh.After(first.State.Fresh) {
		t.Error("an unchanged list is as fresh as the look at it")
	}
	server.Set("list", testkit.GoodList(110))
	third := update(t, c, from, UpdateOptions{}, feed)
	if g := third.State.Good; !third.Changed || g.Entries != 110 || g.Added != 10 || g.Removed != 0 {
		t.Errorf("after a change: %+v", third.State.Good)
	}
}

// A publisher that packs what it sends is read all the same, and one whose list
// has a checksum is not asked to.
func TestAPackedAnswer(t *testing.T) {
	server := testkit.Feeds(t)
	packed := 0
	server.Handle("list", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept-Encoding") != "gzip" {
			fmt.Fprint(w, testkit.GoodList(100))
			return
		}
		packed++
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		fmt.Fprint(z, testkit.GoodList(100))
		if err := z.Close(); err != nil {
			t.Error(err)
		}
	})
	feed := remoteFeed("list", server.URL+"/list")
	if got := update(t, testCache(t), testFetcher(t, server), UpdateOptions{}, feed); got.Err != nil || packed != 1 {
		t.Errorf("packed: %v, %d times", got.Err, packed)
	}
	sum := sha256.Sum256([]byte(testkit.GoodList(100)))
	feed.Remote.SHA256 = hex.EncodeToString(sum[:])
	if got := update(t, testCache(t), testFetcher(t, server), UpdateOptions{}, feed); got.Err != nil || packed != 1 {
		t.Errorf("with a checksum: %v, packed %d times", got.Err, packed)
	}
}

// Several feeds that are read from one address ask for it once.
func TestFeedsOfOneAddressShareTheDownload(t *testing.T) {
	server, c := testkit.Feeds(t), testCache(t)
	server.Set("tree", testkit.GoodList(100))
	a, b := remoteFeed("a", server.URL+"/tree"), remoteFeed("b", server.URL+"/tree")
	for _, got := range c.Update(t.Context(), testFetcher(t, server), []Feed{a, b}, UpdateOptions{}) {
		if got.Err != nil || !got.Changed {
			t.Errorf("Update: %+v", got)
		}
	}
	if n := server.Asked("tree"); n != 1 {
		t.Errorf("asked %d times", n)
	}
	if readCopy(t, c, &a) != readCopy(t, c, &b) {
		t.Error("the copies differ")
	}
}

func TestAPersonMayAcceptAChange(t *testing.T) {
	server, c := testkit.Feeds(t), testCache(t)
	from, feed := testFetcher(t, server), remoteFeed("list", server.URL+"/list")
	server.Set("list", testkit.GoodList(100))
	update(t, c, from, UpdateOptions{}, feed)
	server.Set("list", testkit.GoodList(20))
	if got := update(t, c, from, UpdateOptions{}, feed); !errors.Is(got.Err, ErrChange) {
		t.Fatalf("shrunk: %+v", got)
	}
	if got := update(t, c, from, UpdateOptions{Accept: true}, feed); got.Err != nil || got.State.Good.Entries != 20 {
		t.Errorf("accepted: %+v", got)
	}
	feed.Remote.ChangeLimit = 5
	server.Set("list", testkit.GoodList(100))
	if got := update(t, c, from, UpdateOptions{}, feed); got.Err != nil {
		t.Errorf("within a limit of 500%%: %+v", got)
	}
}

// A first download has nothing to be compared with, and is held to what is known
// without it.
func TestAFirstDownloadIsHeldToWhatIsKnown(t *testing.T) { // T16
	server := testkit.Feeds(t)
	from := testFetcher(t, server)
	local := filepath.Join(t.TempDir(), "local.txt")
	if err := os.WriteFile(local, []byte(testkit.GoodList(1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	var world strings.Builder
	for host := range vouchedFor() {
		world.WriteString(host.String() + "\n")
	}
	server.Set("short", testkit.GoodList(100))
	server.Set("world", testkit.GoodList(1000)+world.String())
	for _, c := range []struct {
		name, list, want string
		change           func(*Feed)
	}{
		{"nothing known", "short", "", func(*Feed) {}},
		{"about as long as said", "short", "", func(f *Feed) { f.Remote.Entries = 150 }},
		{"far shorter than said", "short", "it has 100 entries, and the feed file says about 5000", func(f *Feed) { f.Remote.Entries = 5000 }},
		{"far longer than said", "short", "it has 100 entries, and the feed file says about 20", func(f *Feed) { f.Remote.Entries = 20 }},
		{"shorter than what was read until now", "short", "it shrank from 1000 to 100 entries", func(f *Feed) { f.Path = local }},
		{"the whole web as one category", "world", "sites that schools need", func(*Feed) {}},
		{"a list of good names", "world", "", func(f *Feed) { f.Kind, f.Category = Clean, policy.Uncategorised }},
		{"a mandatory list", "world", "", func(f *Feed) { f.Kind, f.Category, f.Remote.Entries = Mandatory, policy.ChildAbuse, 20 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			cache, feed := testCache(t), remoteFeed("list", server.URL+"/"+c.list)
			c.change(&feed)
			got := update(t, cache, from, UpdateOptions{}, feed)
			switch {
			case c.want == "" && (got.Err != nil || !got.Changed):
				t.Errorf("Update = %+v, want it taken", got)
			case c.want != "" && (!errors.Is(got.Err, ErrChange) || !strings.Contains(got.Err.Error(), c.want)):
				t.Errorf("Update = %v, want %q", got.Err, c.want)
			}
			if c.want == "" {
				return
			}
			if got := update(t, cache, from, UpdateOptions{Accept: true}, feed); got.Err != nil || !got.Changed {
				t.Errorf("accepted by a person: %+v", got)
			}
		})
	}
}

// A mandatory list takes in what is new at once, whatever its size, and keeps
// what is suddenly gone until a person has looked.
func TestAMandatoryListNeverOpensHalfOfItself(t *testing.T) {
	server, c := testkit.Feeds(t), testCache(t)
	from, feed := testFetcher(t, server), remoteFeed("floor", server.URL+"/floor")
	feed.Kind, feed.Category = Mandatory, policy.ChildAbuse
	server.Set("floor", testkit.GoodList(10))
	update(t, c, from, UpdateOptions{}, feed)
	server.Set("floor", testkit.GoodList(100))
	if got := update(t, c, from, UpdateOptions{}, feed); !got.Changed || got.State.Good.Entries != 100 {
		t.Fatalf("grown: %+v", got)
	}
	server.Set("floor", "new.feed.example\n")
	got := update(t, c, from, UpdateOptions{}, feed)
	read, _ := c.Read(feed, nil)
	if !got.Changed || got.State.Good.Entries != 100 || len(read) != 2 || !strings.Contains(got.State.Outcome, "stay in force") {
		t.Fatalf("shrunk: %+v, read as %d feeds", got.State, len(read))
	}
	got = update(t, c, from, UpdateOptions{Accept: true}, feed)
	if read, _ = c.Read(feed, nil); len(read) != 1 || got.State.Good.Entries != 1 {
		t.Errorf("accepted: %+v", got.State)
	}
}

func TestTLSIsVerified(t *testing.T) {
	server := testkit.Feeds(t)
	server.Set("list", testkit.GoodList(10))
	old := httptest.NewUnstartedServer(http.NotFoundHandler())
	old.TLS = &tls.Config{MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}
	old.Config.ErrorLog = log.New(io.Discard, "", 0) // its clients refuse it, as they should
	old.StartTLS()
	t.Cleanup(old.Close)
	server.Roots.AddCert(old.Certificate())
	_, port, err := net.SplitHostPort(strings.TrimPrefix(server.URL, "https://"))
	if err != nil {
		t.Fatal(err)
	}
	stranger := NewFetcher(FetchOptions{Allow: loopback})
	t.Cleanup(stranger.Close)
	for _, c := range []struct {
		name, url string
		from      *Fetcher
		want      string
	}{
		{"a certificate for another name", "https://rebound.test:" + port + "/list", testFetcher(t, server), "certificate"},
		{"an unknown authority", server.URL + "/list", stranger, "certificate"},
		{"TLS 1.1", old.URL, testFetcher(t, server), "protocol version"},
	} {
		_, err := c.from.Fetch(t.Context(), Download{URL: c.url, MaxSize: 1 << 20, Timeout: 10 * time.Second}, io.Discard)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

// T2: no name and no form of an address leads inside.
func TestTheInsideIsNeverAsked(t *testing.T) {
	f := NewFetcher(FetchOptions{Resolver: names{"inside.test": "192.168.1.1", "self.test": "127.0.0.1", "six.test": "fd00::1"}})
	t.Cleanup(f.Close)
	for _, host := range []string{
		"127.0.0.1", "10.0.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "[::1]", "[fe80::1]", "[::ffff:127.0.0.1]",
		"[64:ff9b::7f00:1]", "[2002:7f00:1::]", "inside.test", "self.test", "six.test", "192.0.0.1", "224.0.0.1", "255.255.255.255",
	} {
		_, err := f.Fetch(t.Context(), Download{URL: "https://" + host + "/", MaxSize: 1, Timeout: 5 * time.Second}, io.Discard)
		if !errors.Is(err, ErrInside) {
			t.Errorf("Fetch(%s) = %v, want %v", host, err, ErrInside)
		}
	}
}

// The environment's proxy is not asked; the configured one is, wherever it is.
func TestOnlyTheConfiguredProxyIsUsed(t *testing.T) {
	server := testkit.Feeds(t)
	server.Set("list", testkit.GoodList(10))
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	var out bytes.Buffer
	d := Download{URL: server.URL + "/list", MaxSize: 1 << 20, Timeout: 10 * time.Second}
	if _, err := testFetcher(t, server).Fetch(t.Context(), d, &out); err != nil {
		t.Errorf("straight out: %v", err)
	}
	var connected []string
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		connected = append(connected, r.Method+" "+r.Host)
		http.Error(w, "no", http.StatusForbidden)
	}))
	t.Cleanup(proxy.Close)
	u, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	f := NewFetcher(FetchOptions{Proxy: u, Roots: server.Roots})
	t.Cleanup(f.Close)
	_, err = f.Fetch(t.Context(), Download{URL: "https://lists.example/list", MaxSize: 1 << 20, Timeout: 10 * time.Second}, io.Discard)
	if err == nil || len(connected) != 1 || connected[0] != "CONNECT lists.example:443" {
		t.Errorf("by the proxy: %v, asked %v", err, connected)
	}
}

func TestADownloadEndsInTime(t *testing.T) {
	server := testkit.Feeds(t)
	server.Handle("silent", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	f := NewFetcher(FetchOptions{Roots: server.Roots, Allow: loopback})
	t.Cleanup(f.Close)
	d := Download{URL: server.URL + "/silent", MaxSize: 1 << 20, Timeout: 100 * time.Millisecond}
	if _, err := f.Fetch(t.Context(), d, io.Discard); err == nil || !strings.Contains(err.Error(), "not done within") {
		t.Errorf("Fetch = %v", err)
	}
}
