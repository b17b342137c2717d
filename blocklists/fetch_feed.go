package blocklists

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"aead.dev/minisign"
	"gopkg.in/yaml.v3"
)

// Remote is where a feed is downloaded from, and what must hold for it. The
// zero values take defaults by the feed's kind: see [Feed.Supply].
type Remote struct {
	URL         string
	Interval    time.Duration // between two looks
	Timeout     time.Duration // of one download, from the first byte asked to the last
	MaxSize     int64         // bytes, as sent
	ChangeLimit float64       // share of the entries that may come or go at once
	Entries     int64         // about how many there are, which a first download is held to; 0 for unknown
	Amber, Red  time.Duration // ages of the content at which a person is told
	SHA256      string        // of the content, in hex, or the https address of a file of checksums
	AuthFile    string        // holds the credential that the publisher asks for
	Minisign    string        // public key; the signature lies at URL + ".minisig"

	DeltaURL      string // of what has changed since the list at URL, as a table with an action; "" for none
	DeltaInterval time.Duration
}

// Defaults of a download.
const (
	publicInterval    = 24 * time.Hour
	mandatoryInterval = 12 * time.Hour // the IWF publishes twice a day (I2)
	deltaInterval     = time.Hour
	publicAmber       = 7 * 24 * time.Hour
	publicRed         = 30 * 24 * time.Hour
	mandatoryAmber    = 24 * time.Hour // I2
	mandatoryRed      = 48 * time.Hour // I2
	downloadTimeout   = 5 * time.Minute
	downloadSize      = 256 << 20
	publicChange      = 0.3 // T16
	mandatoryChange   = 0.5 // of removals only
)

// Supply is the feed's download with every default filled in.
func (f *Feed) Supply() Remote {
	r := f.Remote
	interval, amber, red, change := publicInterval, publicAmber, publicRed, publicChange
	if f.Kind == Mandatory {
		interval, amber, red, change = mandatoryInterval, mandatoryAmber, mandatoryRed, mandatoryChange
	}
	orElse(&r.Interval, interval)
	orElse(&r.DeltaInterval, min(deltaInterval, r.Interval))
	orElse(&r.Amber, amber)
	orElse(&r.Red, max(red, r.Amber))
	orElse(&r.Timeout, downloadTimeout)
	orElse(&r.MaxSize, downloadSize)
	orElse(&r.ChangeLimit, change)
	return r
}

func orElse[N int64 | float64 | time.Duration](v *N, otherwise N) {
	if *v <= 0 {
		*v = otherwise
	}
}

// Freshness is how a feed's age stands against its limits.
type Freshness string

// The states of a feed's age.
const (
	Green Freshness = "green"
	Amber Freshness = "amber" // a person should look
	Red   Freshness = "red"   // it cannot be relied upon
)

// Freshness judges an age.
func (f *Feed) Freshness(age time.Duration) Freshness {
	switch limits := f.Supply(); {
	case age > limits.Red:
		return Red
	case age > limits.Amber:
		return Amber
	}
	return Green
}

// remoteKeys are the keys of a feed that say how it is downloaded.
func (l *loader) remoteKeys(f *Feed, name string) map[string]func(*yaml.Node) {
	span := func(to *time.Duration, what string, least, most time.Duration) func(*yaml.Node) {
		return func(n *yaml.Node) { *to = l.span(n, name, what, least, most) }
	}
	const day = 24 * time.Hour
	r := &f.Remote
	return map[string]func(*yaml.Node){
		"url":            func(n *yaml.Node) { r.URL = l.address(n, name) },
		"delta_url":      func(n *yaml.Node) { r.DeltaURL = l.address(n, name) },
		"interval":       span(&r.Interval, "interval", 5*time.Minute, 30*day),
		"delta_interval": span(&r.DeltaInterval, "delta_interval", 5*time.Minute, 30*day),
		"timeout":        span(&r.Timeout, "timeout", time.Second, time.Hour),
		"amber":          span(&r.Amber, "amber", time.Minute, 3650*day),
		"red":            span(&r.Red, "red", time.Minute, 3650*day),
		"max_size":       func(n *yaml.Node) { r.MaxSize = l.size(n, name) },
		"change_limit":   func(n *yaml.Node) { r.ChangeLimit = l.percent(n, name) },
		"entries":        func(n *yaml.Node) { r.Entries = l.count(n, name) },
		"sha256":         func(n *yaml.Node) { r.SHA256 = l.checksum(n, name) },
		"minisign":       func(n *yaml.Node) { r.Minisign = l.publicKey(n, name) },
		"auth_file":      func(n *yaml.Node) { r.AuthFile = l.path(n) },
		"synthetic":      func(n *yaml.Node) { f.Synthetic = l.boolean(n, name) },
	}
}

func (l *loader) address(n *yaml.Node, feed string) string {
	text := l.scalar(n)
	if err := checkAddress(text); err != nil {
		l.problem(n, "feed %q: url %q: %v", feed, text, err)
	}
	return text
}

func checkAddress(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return errors.New("not a web address")
	case u.Scheme != "https" && u.Scheme != "http":
		return errors.New("want https://")
	case u.Host == "" || u.Opaque != "":
		return errors.New("there is no host")
	case u.User != nil:
		return errors.New("a name or password does not belong into an address, which is shown")
	}
	return nil
}

var spanParts = regexp.MustCompile(`^([0-9]+)(m|h|d)$`)

// span reads a length of time in whole minutes, hours or days, or as Go writes it.
func (l *loader) span(n *yaml.Node, feed, what string, least, most time.Duration) time.Duration {
	text := l.scalar(n)
	d, err := time.ParseDuration(text)
	if m := spanParts.FindStringSubmatch(text); m != nil && m[2] == "d" {
		var days int
		days, err = strconv.Atoi(m[1])
		d = time.Duration(min(days, 10_000)) * 24 * time.Hour
	}
	if err != nil || d < least || d > most {
		l.problem(n, "feed %q: %s %q: want a time such as 30m, 12h or 7d, from %s to %s", feed, what, text, least, most)
	}
	return d
}

var sizeParts = regexp.MustCompile(`^([0-9]{1,9}) ?(KiB|MiB|GiB)$`)

func (l *loader) size(n *yaml.Node, feed string) int64 {
	text := l.scalar(n)
	m := sizeParts.FindStringSubmatch(text)
	if m == nil {
		l.problem(n, "feed %q: max_size %q: want a size such as 64MiB", feed, text)
		return 0
	}
	count, _ := strconv.ParseInt(m[1], 10, 64) // the pattern is a number that fits
	count <<= map[string]int{"KiB": 10, "MiB": 20, "GiB": 30}[m[2]]
	if count < 1<<10 || count > 1<<30 {
		l.problem(n, "feed %q: max_size %q: want 1KiB to 1GiB", feed, text)
	}
	return count
}

func (l *loader) percent(n *yaml.Node, feed string) float64 {
	text := l.scalar(n)
	number, ok := strings.CutSuffix(text, "%")
	v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if !ok || err != nil || !(v > 0 && v <= 1000) {
		l.problem(n, "feed %q: change_limit %q: want a share such as 30%%", feed, text)
	}
	return v / 100
}

func (l *loader) count(n *yaml.Node, feed string) int64 {
	text := l.scalar(n)
	v, err := strconv.ParseInt(text, 10, 64)
	if err != nil || v < 1 || v > maxEntries {
		l.problem(n, "feed %q: entries %q: want about how many there are, 1 to %d", feed, text, maxEntries)
	}
	return v
}

var hexSum = regexp.MustCompile(`^[0-9a-fA-F]{64}$`)

func (l *loader) checksum(n *yaml.Node, feed string) string {
	text := l.scalar(n)
	if hexSum.MatchString(text) {
		return strings.ToLower(text)
	}
	if !strings.HasPrefix(text, "https://") || checkAddress(text) != nil {
		l.problem(n, "feed %q: sha256 %q: want 64 hexadecimal digits, or the https address of a file of checksums", feed, text)
	}
	return text
}

func (l *loader) publicKey(n *yaml.Node, feed string) string {
	text := l.scalar(n)
	var key minisign.PublicKey
	if err := key.UnmarshalText([]byte(text)); err != nil {
		l.problem(n, "feed %q: minisign: not a minisign public key (56 characters, beginning with RW)", feed)
	}
	return text
}

// feedFolder is what the name of a downloaded feed must look like, since its
// copies are kept in a folder of that name.
var feedFolder = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)

// remoteProblem says what speaks against the download that a feed declares.
func (f *Feed) remoteProblem() error {
	r := f.Remote
	if FeedOf(f.Name) != f.Name {
		return fmt.Errorf("the name of a feed may not end in %q, which is what a part of a feed is called", newerPart)
	}
	if r.URL == "" {
		if r.SHA256 != "" || r.Minisign != "" || r.Interval != 0 || r.Entries != 0 || r.AuthFile != "" || r.DeltaURL != "" || r.DeltaInterval != 0 {
			return errors.New("sha256, minisign, interval, entries, auth_file, delta_url and delta_interval are for a feed with a url")
		}
		return nil
	}
	if err := f.deltaProblem(); err != nil {
		return err
	}
	switch {
	case !feedFolder.MatchString(f.Name):
		return errors.New("the name of a feed with a url may hold small letters, digits, dots, - and _ only")
	case strings.HasPrefix(r.URL, "http://") && r.SHA256 == "" && r.Minisign == "":
		return errors.New("a url without https needs sha256 or minisign: anyone on the way could change the list")
	case r.AuthFile != "" && !strings.HasPrefix(r.URL, "https://"):
		return errors.New("auth_file is for a url with https: the credential would be sent in clear")
	case f.Delta != "":
		return errors.New("delta is for a feed with a path only; the changes of a list at an address have one of their own, delta_url")
	case r.Amber != 0 && r.Red != 0 && r.Red < r.Amber:
		return fmt.Errorf("red (%s) comes after amber (%s)", r.Red, r.Amber)
	}
	return nil
}

// deltaProblem says what speaks against the changes that a feed declares.
func (f *Feed) deltaProblem() error {
	r := f.Remote
	switch {
	case r.DeltaURL == "" && r.DeltaInterval != 0:
		return errors.New("delta_interval is for a feed with a delta_url")
	case r.DeltaURL == "":
		return nil
	case f.Format != CSV || f.Columns.Action == "":
		return errors.New("delta_url is for the format csv, and columns must name the action")
	case hexSum.MatchString(r.SHA256):
		return errors.New("sha256 in digits holds for one content only: with a delta_url name the address of a file of checksums, or take minisign")
	case strings.HasPrefix(r.DeltaURL, "http://") && r.SHA256 == "" && r.Minisign == "":
		return errors.New("a delta_url without https needs sha256 or minisign: anyone on the way could change the list")
	}
	return nil
}
