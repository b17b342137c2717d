package lab

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A real browser in the pupils' network, with no settings but that it takes the
// key of the lab's sites for a good one: what is allowed loads over HTTPS, although Chromium sends GREASE
// and post-quantum hellos (Y6), and what is blocked shows the page. With
// LAB_SCREENSHOTS=FOLDER it leaves pictures of both.
func TestChromium(t *testing.T) {
	needTools(t, "chromium")
	l := New(t)
	nameServer(t, l.Pupil.namespace, l.Pupil.Router4)
	allowed := l.chromium(t, "--dump-dom", "https://allowed.example/")
	if !strings.Contains(allowed, "The page of host "+hostAllowed+" over HTTP/2.0") {
		t.Errorf("https://allowed.example/ in Chromium:\n%s", allowed)
	}
	blocked := l.chromium(t, "--dump-dom", "http://blocked.example/")
	if !strings.Contains(blocked, "blocked.example") || l.Internet.Count("page "+hostBlocked) > 0 {
		t.Errorf("http://blocked.example/ in Chromium, want the block page:\n%s", blocked)
	}
	if cut := l.chromium(t, "--dump-dom", "https://blocked.example/"); strings.Contains(cut, "The page of host") {
		t.Errorf("https://blocked.example/ in Chromium:\n%s", cut)
	}
	if dir := os.Getenv("LAB_SCREENSHOTS"); dir != "" {
		l.chromium(t, "--screenshot="+filepath.Join(dir, "allowed.png"), "https://allowed.example/")
		l.chromium(t, "--screenshot="+filepath.Join(dir, "blocked.png"), "http://blocked.example/")
	}
}

// chromium runs it once on the pupil's device and gives what it printed.
func (l *Lab) chromium(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	key := sha256.Sum256(l.Authority.SiteKey(t))
	args = append([]string{
		"--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--window-size=900,700",
		"--user-data-dir=" + t.TempDir(), "--ignore-certificate-errors-spki-list=" + base64.StdEncoding.EncodeToString(key[:]),
	}, args...)
	cmd := l.Pupil.command(ctx, "chromium", args...)
	out, err := cmd.Output()
	if err != nil {
		t.Errorf("chromium %s: %v", args[len(args)-1], err)
	}
	return string(out)
}
