package lab

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// chromiumBrowses: real browsers, on a device with no settings at all, on one of the
// school's that is looked into, and on one that has its settings from the box. With LAB_SCREENSHOTS=FOLDER pictures are left there.
func (c *catalogue) chromiumBrowses(t *testing.T) {
	needTools(t, "chromium")
	nameServer(t, c.Pupil.namespace, c.Pupil.Router4)
	nameServer(t, c.Guest.namespace, c.Guest.Router4)
	c.manage(t, c.Guest.namespace)
	t.Run("without settings", func(t *testing.T) { c.inParallel(t, withoutSettings) })
	// From here on the pupil's browsers can look up nothing: who gets a page has
	// it by the proxy.
	nameServer(t, c.Pupil.namespace, "127.0.0.1")
	t.Run("by proxy.pac", func(t *testing.T) { c.inParallel(t, byProxyPAC) })
	nameServer(t, c.Pupil.namespace, c.Pupil.Router4+"\nsearch school.test")
	t.Run("by WPAD", c.byWPAD)
	if dir := os.Getenv("LAB_SCREENSHOTS"); dir != "" {
		c.chromium(t, c.Pupil, "--screenshot="+filepath.Join(dir, "allowed.png"), "https://allowed.example/")
		c.chromium(t, c.Pupil, "--screenshot="+filepath.Join(dir, "blocked.png"), "http://blocked.example/")
	}
}

// manage gives a device's browsers the settings of a school: which authorities they
// are to believe, the school's among them.
func (c *catalogue) manage(t *testing.T, n *namespace) {
	t.Helper()
	settings, err := json.Marshal(map[string][][]byte{"CACertificates": {c.authority.Raw, c.Authority.cert.Raw}})
	dir := "/etc/netns/" + n.name + "/chromium/policies/managed" // ip netns exec puts it over /etc/chromium
	if err = errors.Join(err, os.MkdirAll(dir, 0o755)); err == nil {
		err = os.WriteFile(filepath.Join(dir, "lab.json"), settings, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (c *catalogue) inParallel(t *testing.T, runs map[string]func(*testing.T, *catalogue)) {
	t.Helper()
	for name, run := range runs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t, c)
		})
	}
}

// isBlockPage reports whether a page is ours, about a site.
func isBlockPage(page, site string) bool {
	return strings.Contains(page, site) && !strings.Contains(page, "The page of host") && strings.Contains(page, "SG-")
}

var withoutSettings = map[string]func(*testing.T, *catalogue){
	// Y6: what is allowed loads although Chromium sends GREASE and post-quantum hellos.
	"an allowed site": func(t *testing.T, c *catalogue) {
		page := c.chromium(t, c.Pupil, "--dump-dom", "https://allowed.example/")
		if !strings.Contains(page, "The page of host "+hostAllowed+" over HTTP/2.0") {
			t.Errorf("https://allowed.example/ in Chromium:\n%s", page)
		}
		if c.Internet.Count("ech hello "+hostAllowed) == 0 {
			t.Error("Chromium sent no ECH extension: nothing was shown about GREASE")
		}
	},
	"a blocked site": func(t *testing.T, c *catalogue) {
		if page := c.chromium(t, c.Pupil, "--dump-dom", "http://blocked.example/"); !isBlockPage(page, "blocked.example") {
			t.Errorf("http://blocked.example/ in Chromium, want the block page:\n%s", page)
		}
	},
	"a blocked site over https": func(t *testing.T, c *catalogue) {
		if page := c.chromium(t, c.Guest, "--dump-dom", "https://blocked.example/"); !isBlockPage(page, "blocked.example") {
			t.Errorf("https://blocked.example/ on a device of the school, want the block page:\n%s", page)
		}
	},
	// Y26, Y27: frames of data:, srcdoc, blob: and javascript:, redirects and refreshes of
	// a page that is allowed: each request in them is judged, and on record.
	"a page of frames": func(t *testing.T, c *catalogue) {
		page := c.chromium(t, c.Guest, "--virtual-time-budget=10000", "--dump-dom", "http://allowed.example/frames")
		if !strings.Contains(page, "<title>frames</title>") {
			t.Errorf("http://allowed.example/frames in Chromium:\n%s", page)
		}
		var paths []string
		for _, way := range []string{"data", "srcdoc", "frame", "redirect", "refresh", "image", "blob", "javascript", "fetch"} {
			paths = append(paths, `"/`+way+`"`)
		}
		c.recorded(t, c.Guest, true, append(paths, "blocked.example")...)
	},
}

// byProxyPAC: 4.6. Browsers that are given the address of the box's proxy.pac, over
// IPv4 and IPv6, get pages and block pages by the proxy.
var byProxyPAC = map[string]func(*testing.T, *catalogue){
	"an open site":                     func(t *testing.T, c *catalogue) { c.openByPAC(t, false) },
	"a listed site":                    func(t *testing.T, c *catalogue) { c.listedByPAC(t, false) },
	"an open site, the box over IPv6":  func(t *testing.T, c *catalogue) { c.openByPAC(t, true) },
	"a listed site, the box over IPv6": func(t *testing.T, c *catalogue) { c.listedByPAC(t, true) },
}

func (c *catalogue) openByPAC(t *testing.T, v6 bool) {
	page := c.chromium(t, c.Pupil, "--proxy-pac-url=http://"+c.Pupil.proxy(v6)+"/proxy.pac", "--dump-dom", "https://other.example/")
	if !strings.Contains(page, "The page of host "+hostOther+" over HTTP/2.0") {
		t.Errorf("https://other.example/ by proxy.pac:\n%s", page)
	}
	c.recordedAs(t, c.Pupil, v6, "allow", `"connect"`, "other.example")
}

func (c *catalogue) listedByPAC(t *testing.T, v6 bool) {
	page := c.chromium(t, c.Pupil, "--proxy-pac-url=http://"+c.Pupil.proxy(v6)+"/proxy.pac", "--dump-dom", "http://flagged.example/page")
	if !isBlockPage(page, "flagged.example") {
		t.Errorf("http://flagged.example/ by proxy.pac, want the block page:\n%s", page)
	}
	c.recorded(t, c.Pupil, v6, `"http"`, "flagged.example", `"/page"`)
}

// byWPAD: a browser that looks for settings by itself finds those of the box, whoever
// answers for the name wpad.
func (c *catalogue) byWPAD(t *testing.T) {
	page := c.chromium(t, c.Pupil, "--proxy-auto-detect", "--dump-dom", "https://www.allowed.example/")
	if !strings.Contains(page, "The page of host "+hostAllowed) {
		t.Errorf("https://www.allowed.example/ by WPAD:\n%s", page)
	}
	c.recordedAs(t, c.Pupil, true, "allow", `"connect"`, "www.allowed.example")
}

// chromium runs it once on a device and gives what it printed.
func (c *catalogue) chromium(t *testing.T, h *Host, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	key := sha256.Sum256(c.Authority.SiteKey(t))
	args = append([]string{
		"--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--window-size=900,700",
		"--user-data-dir=" + t.TempDir(),
	}, args...)
	if h != c.Guest { // which knows whom to believe
		args = append([]string{"--ignore-certificate-errors-spki-list=" + base64.StdEncoding.EncodeToString(key[:])}, args...)
	}
	cmd := h.command(ctx, "chromium", args...)
	var out, trouble bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &trouble
	ended, err := daemon(cmd)
	if err == nil {
		err = <-ended
	}
	if err != nil {
		t.Errorf("chromium %s: %v\n%s", args[len(args)-1], err, &trouble)
	}
	return out.String()
}
