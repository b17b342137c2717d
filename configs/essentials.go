package configs

import (
	"bufio"
	"bytes"
	"strings"

	"schoolgate/policy"
)

// The files of the embedded sample that are part of every policy.
const (
	helpLineFile   = "helplines-never-block.csv"
	captiveFile    = "captive-portal-checks.csv"
	updatesFile    = "updates-never-block.csv"
	safeSearchFile = "safesearch-map.csv"
	googleFile     = "google-domains.txt"
)

// youtubeModerate serves YouTube's Restricted Mode at its weaker setting. The
// map names the strict host; public code has been seen with the two swapped
// (REQUIREMENTS 4.2), so they are told apart by name here and by a test.
const youtubeModerate = "restrictmoderate.youtube.com"

// wholeSites are hosts of captive-portal checks that are whole sites besides.
// Only the page of the check is open there: the name of a search engine must not
// be, to a Nursery tablet. Devices that ask them ask a host of its own first.
var wholeSites = map[string]bool{"www.google.com": true, "www.apple.com": true, "fedoraproject.org": true}

// essentials are the never-block set and the hosts that serve safe search, from
// the files in the binary. They hold for a school's own policy, too: a child's
// help-line stays open whatever is written there.
func (l *loader) essentials() (never []policy.NeverBlock, safe []policy.SafeHost) {
	for _, r := range l.embeddedRows(helpLineFile, "host", "name") {
		if rule, ok := l.embeddedSite(r, r.get("host")); ok {
			rule.Note = r.get("name")
			never = append(never, policy.NeverBlock{HostRule: rule, HelpLine: true})
		}
	}
	for _, r := range l.embeddedRows(captiveFile, "host", "path", "system") {
		check := r.get("host")
		if wholeSites[check] {
			check += r.get("path")
		}
		if rule, ok := l.embeddedSite(r, check); ok {
			rule.Exact, rule.Note = true, "network check of "+r.get("system")
			never = append(never, policy.NeverBlock{HostRule: rule})
		}
	}
	for _, r := range l.embeddedRows(updatesFile, "host", "covers", "system", "reason") {
		if rule, ok := l.embeddedSite(r, r.get("host")); ok {
			rule.Exact, rule.Note = r.get("covers") == "exact", r.get("system")+": "+r.get("reason")
			never = append(never, policy.NeverBlock{HostRule: rule})
		}
	}
	return never, l.safeHosts()
}

// safeHosts are the rows of the map that can be carried out in the DNS: a name or an
// address to be reached instead of the one asked for.
func (l *loader) safeHosts() (safe []policy.SafeHost) {
	google := l.googleDomains()
	for _, r := range l.embeddedRows(safeSearchFile, "host_pattern", "engine", "method", "target") {
		if method := r.get("method"); method != "dns_cname" && method != "dns_a" {
			continue // a parameter or header is for inspected requests
		}
		s := policy.SafeHost{YouTube: r.get("engine") == "YouTube"}
		s.Strict = l.embeddedHost(r, r.get("target"))
		s.Moderate = s.Strict
		if s.YouTube {
			s.Moderate = l.embeddedHost(r, youtubeModerate)
		}
		for _, name := range expand(r.get("host_pattern"), google) {
			s.Host = l.embeddedHost(r, name)
			safe = append(safe, s)
		}
	}
	return safe
}

// yandex are the domains of yandex.*, which lead to one safe address.
var yandex = strings.Fields(`yandex.com yandex.ru ya.ru yandex.com.tr yandex.kz yandex.by yandex.uz yandex.ua yandex.eu yandex.fr yandex.az
	yandex.co.il yandex.com.am yandex.com.ge yandex.ee yandex.kg yandex.lt yandex.lv yandex.md yandex.tj yandex.tm`)

// expand spreads a pattern such as www.google.* over Google's domains, yandex.* over
// Yandex's with and without www, and the engine at duckduckgo.com over its short name
// (REQUIREMENTS 4.1).
func expand(pattern string, google []string) (names []string) {
	switch pattern {
	case "duckduckgo.com":
		return []string{pattern, "duck.com", "www.duck.com"}
	case "yandex.*":
		for _, domain := range yandex {
			names = append(names, domain, "www."+domain)
		}
		return names
	}
	prefix, ok := strings.CutSuffix(pattern, "google.*")
	if !ok {
		return []string{pattern}
	}
	for _, domain := range google {
		names = append(names, prefix+domain)
	}
	return names
}

func (l *loader) googleDomains() (domains []string) {
	s := bufio.NewScanner(bytes.NewReader(l.embeddedFile(googleFile)))
	for s.Scan() {
		if line := strings.TrimSpace(s.Text()); line != "" && line[0] != '#' {
			domains = append(domains, line)
		}
	}
	return domains
}

func (l *loader) embeddedFile(name string) []byte {
	text, err := folder{fsys: Sample()}.read(name)
	if err != nil {
		l.problems = append(l.problems, policy.Problem{Pos: policy.Pos{File: name, Line: 1}, Text: err.Error()})
	}
	return text
}

func (l *loader) embeddedRows(name string, want ...string) []row {
	rows, problems := readRows(name, l.embeddedFile(name), want...)
	l.problems = append(l.problems, problems...)
	return rows
}

func (l *loader) embeddedSite(r row, text string) (policy.HostRule, bool) {
	rule, err := site(text)
	if err != nil {
		l.problems = append(l.problems, policy.Problem{Pos: r.at, Text: err.Error()})
		return rule, false
	}
	rule.Verdict, rule.Rule = policy.Allow, r.at
	return rule, true
}

func (l *loader) embeddedHost(r row, text string) policy.Host {
	h, err := policy.ParseHost(text)
	if err != nil {
		l.problems = append(l.problems, policy.Problem{Pos: r.at, Text: err.Error()})
	}
	return h
}
