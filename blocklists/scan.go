package blocklists

import (
	"compress/flate"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"

	"schoolgate/policy"
)

// scan is one reading of one feed: where it is, what it found and whom it tells.
type scan struct {
	ctx    context.Context
	feed   *Feed
	limits Limits
	meter  *meter
	emit   func(Entry) error
	refuse func(Refusal)
	stats  Stats

	file     string
	line     int
	indented bool            // the format knows lines by their indent
	category policy.Category // of the entries being read
}

func newScan(ctx context.Context, f *Feed, emit func(Entry) error, refuse func(Refusal)) *scan {
	limits := f.Limits.orDefault()
	return &scan{
		ctx: ctx, feed: f, limits: limits, meter: &meter{limits: limits}, emit: emit, refuse: refuse, category: f.Category,
		stats: Stats{ByReason: map[Reason]int64{}, ByCategory: map[policy.Category]int64{}},
	}
}

// lines reads a text and gives each line that is not blank, trimmed, to parse.
func (s *scan) lines(file string, r io.Reader, parse func(line string) error) error {
	s.file, s.line = file, 0
	s.stats.Files++
	reader := newLineReader(r, s.limits)
	for {
		line, long, err := reader.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return s.broken(err)
		}
		if !long && line == "" && reader.block == "" {
			if err := s.ctx.Err(); err != nil { // once a block
				return err
			}
		}
		if err := s.one(line, long, parse); err != nil {
			return err
		}
	}
}

func (s *scan) one(line string, long bool, parse func(string) error) error {
	s.line++
	s.stats.Lines++
	if s.line&0xfff == 0 {
		if err := s.ctx.Err(); err != nil {
			return err
		}
	}
	if long {
		return s.refused(TooLong, line)
	}
	trimmed := strings.TrimSpace(line)
	if trimmed == "" {
		return nil
	}
	if s.indented {
		return parse(line)
	}
	return parse(trimmed)
}

// broken explains an error of reading, which ends the feed.
func (s *scan) broken(err error) error {
	var corrupt flate.CorruptInputError
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		err = refuseAll("it ends in the middle: truncated")
	case errors.Is(err, gzip.ErrChecksum), errors.Is(err, gzip.ErrHeader), errors.As(err, &corrupt):
		err = refuseAll("broken gzip: %w", err)
	}
	return sourceErr(s.file, s.line, err)
}

// refused reports the line at hand and, at the bound of broken lines, ends the
// feed.
func (s *scan) refused(why Reason, text string) error {
	return s.refusedAt(s.file, s.line, why, text)
}

func (s *scan) refusedAt(file string, line int, why Reason, text string) error {
	s.stats.Refused++
	s.stats.ByReason[why]++
	if s.feed.Kind == Mandatory {
		text = "" // such a list is never shown, not even a line that is broken
	} else if text != "" {
		text = quote(text)
	}
	s.refuse(Refusal{File: file, Line: line, Reason: why, Text: text})
	if !why.Fault() {
		return nil
	}
	s.stats.Faults++
	if s.stats.Faults >= s.limits.Faults {
		return sourceErr(file, line, refuseAll("%d broken lines; the last: %s", s.stats.Faults, why))
	}
	if s.stats.Faults >= 1000 {
		return s.tooManyFaults()
	}
	return nil
}

// tooManyFaults judges the share of broken lines in what was read so far.
func (s *scan) tooManyFaults() error {
	judged := s.stats.Entries + s.stats.Unwanted + s.stats.Refused
	if s.stats.Faults < minFaults || s.stats.Faults*100 < judged*int64(s.limits.Share) {
		return nil
	}
	return sourceErr(s.file, s.line, refuseAll("%d of %d lines are broken: not a list in the format %q", s.stats.Faults, judged, s.feed.Format))
}

// add hands over an entry.
func (s *scan) add(host policy.Host, path string, exact bool, c policy.Category) error {
	s.stats.Entries++
	s.stats.ByCategory[c]++
	return s.emit(Entry{Host: host, Path: path, Exact: exact, Category: c, File: s.file, Line: s.line})
}

// name takes a bare host name or address.
func (s *scan) name(text string, exact bool) error {
	host, why := readName(text, s.category)
	if why != "" {
		return s.refused(why, text)
	}
	return s.add(host, "", exact, s.category)
}

// adultTLDs are whole top-level domains that are sold for one thing only. A
// pornography list may name them; no list may name another.
var adultTLDs = map[string]bool{"adult": true, "porn": true, "sex": true, "xxx": true}

var localNames = map[string]bool{
	"localhost": true, "localhost.localdomain": true, "local": true, "broadcasthost": true,
	"ip6-localhost": true, "ip6-loopback": true, "ip6-localnet": true, "ip6-mcastprefix": true,
	"ip6-allnodes": true, "ip6-allrouters": true, "ip6-allhosts": true,
}

// readName reads one name of a list, or says why it is none.
func readName(text string, c policy.Category) (policy.Host, Reason) {
	text = strings.TrimPrefix(text, "*.")
	text = strings.TrimPrefix(text, ".")
	if why := plain(text); why != "" {
		return policy.Host{}, why
	}
	host, err := policy.ParseHost(text)
	if err != nil {
		return policy.Host{}, BadHost
	}
	if addr, ok := host.Addr(); ok {
		return host, public(addr)
	}
	name := host.String()
	switch {
	case localNames[name]:
		return host, LocalName
	case strings.IndexByte(name, '.') < 0 && !(adultTLDs[name] && c == policy.Pornography):
		return host, TopLevel
	}
	return host, ""
}

// plain reports what speaks against text being a bare name.
func plain(text string) Reason {
	for i := 0; i < len(text); i++ {
		switch b := text[i]; {
		case b == ':' && strings.Count(text, ":") > 1:
			if _, err := netip.ParseAddr(strings.Trim(text, "[]")); err == nil {
				return "" // an IPv6 address
			}
			return NotPlain
		case b == '/' || b == ':' || b == '?' || b == '@' || b == '\\':
			return NotPlain
		case b < ' ' || b == 0x7f:
			return NotText
		case b == ' ':
			return BadHost
		case b >= utf8.RuneSelf:
			return foreign(text)
		}
	}
	return ""
}

// foreign looks at a name that is not ASCII: it must be text, and none of the
// characters that turn the direction of writing or cannot be seen.
func foreign(text string) Reason {
	if !utf8.ValidString(text) {
		return NotText
	}
	for _, r := range text {
		if unicode.Is(unicode.Cf, r) && r != '\u200c' && r != '\u200d' {
			return NotText
		}
		if r == '/' || r == ':' || r == '?' || r == '@' || r == '\\' {
			return NotPlain
		}
	}
	return ""
}

// public refuses addresses that are not on the internet: a list that names them
// speaks of the school's own network.
func public(a netip.Addr) Reason {
	if a.IsLoopback() || a.IsPrivate() || a.IsUnspecified() || a.IsMulticast() || a.IsLinkLocalUnicast() {
		return PrivateAddress
	}
	return ""
}

// url takes a URL, with or without a scheme. One without a path is its host.
func (s *scan) url(text string, c policy.Category) error {
	host, path, why := readURL(text, c)
	if why != "" {
		return s.refused(why, text)
	}
	return s.add(host, path, false, c)
}

func readURL(text string, c policy.Category) (policy.Host, string, Reason) {
	if !strings.ContainsAny(text, "/?:#") {
		host, why := readName(text, c)
		return host, "", why
	}
	u, err := policy.ParseURL(text)
	if err != nil {
		return policy.Host{}, "", BadURL
	}
	if addr, ok := u.Host.Addr(); ok {
		return u.Host, u.Path, public(addr)
	}
	if strings.IndexByte(u.Host.String(), '.') < 0 {
		return u.Host, "", TopLevel
	}
	if u.Path == "/" {
		u.Path = ""
	}
	return u.Host, u.Path, ""
}
