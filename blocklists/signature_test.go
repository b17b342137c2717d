package blocklists

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"aead.dev/minisign"

	"schoolgate/internal/testkit"
)

func key(t *testing.T) (string, minisign.PrivateKey) {
	t.Helper()
	public, private, err := minisign.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return public.String(), private
}

func TestASignedList(t *testing.T) {
	server := testkit.Feeds(t)
	from, list := testFetcher(t, server), testkit.GoodList(10)
	public, private := key(t)
	other, stranger := key(t)
	server.Set("list", list)
	for _, c := range []struct {
		name, key, signature string
		ok                   bool
	}{
		{"signed", public, string(minisign.Sign(private, []byte(list))), true},
		{"signed by another key", public, string(minisign.Sign(stranger, []byte(list))), false},
		{"asked of another key", other, string(minisign.Sign(private, []byte(list))), false},
		{"another content", public, string(minisign.Sign(private, []byte(list+"\n"))), false},
		{"no signature at all", public, "hello", false},
	} {
		cache, f := testCache(t), remoteFeed("list", server.URL+"/list")
		f.Remote.Minisign = c.key
		server.Set("list.minisig", c.signature)
		got := update(t, cache, from, UpdateOptions{}, f)
		if (got.Err == nil) != c.ok || !c.ok && !errors.Is(got.Err, ErrNotProven) {
			t.Errorf("%s: %v", c.name, got.Err)
		}
	}
}

func TestAListWithAChecksum(t *testing.T) {
	server := testkit.Feeds(t)
	from := testFetcher(t, server)
	server.Set("list", testkit.GoodList(10))
	f := remoteFeed("list", server.URL+"/list")
	sum := update(t, testCache(t), from, UpdateOptions{}, f).State.Good.SHA256
	server.Set("SHA256SUMS", fmt.Sprintf("%s  other\n%s *lists/list\n", strings.Repeat("0", 64), sum))
	server.Set("list.sha256", sum+"\n")
	server.Set("wrong", strings.Repeat("1", 64)+"  list\n")
	for _, c := range []struct {
		sum string
		ok  bool
	}{
		{sum, true},
		{strings.ToUpper(sum), true},
		{strings.Repeat("a", 64), false},
		{server.URL + "/SHA256SUMS", true},
		{server.URL + "/list.sha256", true},
		{server.URL + "/wrong", false},
		{server.URL + "/html-200", false},
	} {
		f.Remote.SHA256 = c.sum
		if got := update(t, testCache(t), from, UpdateOptions{}, f); (got.Err == nil) != c.ok {
			t.Errorf("sha256 %s: %v", c.sum, got.Err)
		}
	}
}

// A list on a stick is proven by the files beside it, and as old as its file.
func TestAnImportIsTakenLikeADownload(t *testing.T) {
	stick := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(stick, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	public, private := key(t)
	list := testkit.GoodList(100)
	file := write("list.txt", list)
	monday := time.Now().Add(-50 * time.Hour).Truncate(time.Second)
	if err := os.Chtimes(file, monday, monday); err != nil {
		t.Fatal(err)
	}
	c, f := testCache(t), remoteFeed("list", "https://feeds.example/list.txt")
	f.Remote.Minisign = public
	if got := c.Import(t.Context(), &f, file, UpdateOptions{}); got.Err == nil {
		t.Error("taken without its signature")
	}
	write("list.txt.minisig", string(minisign.Sign(private, []byte(list))))
	got := c.Import(t.Context(), &f, file, UpdateOptions{})
	if got.Err != nil || !got.Changed || !got.State.Fresh.Equal(monday) {
		t.Fatalf("Import = %+v", got)
	}
	f.Remote.Minisign = ""
	for name, text := range map[string]string{
		"html": "<!DOCTYPE html><html></html>", "shrunk": testkit.GoodList(10), "empty": "",
	} {
		if got := c.Import(t.Context(), &f, write(name, text), UpdateOptions{}); got.Err == nil || got.Changed {
			t.Errorf("%s was taken: %+v", name, got)
		}
	}
	if got := c.Import(t.Context(), &f, stick, UpdateOptions{}); got.Err == nil {
		t.Error("a folder was taken for a file")
	}
	if readCopy(t, c, &f) != list {
		t.Error("the copy changed")
	}
}

// A feed's address is checked when its file is read, with place and subject.
func TestFeedFileMistakesOfAddresses(t *testing.T) {
	const head = "feeds:\n  - name: list\n    format: domains\n    category: gambling\n    kind: public\n    licence: test\n"
	public, _ := key(t)
	for _, c := range []struct{ lines, want string }{
		{"url: https://lists.example/list", ""},
		{"url: https://lists.example/list\n    interval: 6h\n    amber: 2d\n    red: 7d\n    max_size: 64MiB\n    timeout: 10m\n    change_limit: 50%", ""},
		{"url: http://lists.example/list\n    minisign: " + public, ""},
		{"url: http://lists.example/list\n    sha256: https://lists.example/SHA256SUMS", ""},
		{"url: http://lists.example/list", "without https needs"},
		{"url: http://lists.example/list\n    sha256: http://lists.example/SHA256SUMS", "sha256"},
		{"url: ftp://lists.example/list", "want https"},
		{"url: https://me:secret@lists.example/list", "does not belong"},
		{"url: https:///list", "no host"},
		{"url: https://lists.example/list\n    interval: 1s", "interval"},
		{"url: https://lists.example/list\n    interval: never", "interval"},
		{"url: https://lists.example/list\n    change_limit: 0.3", "change_limit"},
		{"url: https://lists.example/list\n    max_size: 99GiB", "max_size"},
		{"url: https://lists.example/list\n    minisign: RWnonsense", "minisign"},
		{"url: https://lists.example/list\n    amber: 7d\n    red: 2d", "red"},
		{"path: list\n    interval: 1h", "with a url"},
		{"licence: again", "stands twice"},
	} {
		file := filepath.Join(t.TempDir(), "feeds.yaml")
		if err := os.WriteFile(file, []byte(head+"    "+c.lines+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, problems := LoadFeeds(file)
		got := ""
		if len(problems) > 0 {
			got = problems[0].Error()
		}
		if (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s\n  says %q, want %q", c.lines, got, c.want)
		}
	}
}
