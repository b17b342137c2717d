package proxy

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"schoolgate/policy"
	"schoolgate/proxy/pagescan"
)

// Pages that nobody vouches for are read as they pass (S4). The beginning of one is
// held until it has been read, so that a page that is closed was not shown; what
// turns up later breaks the reply off.

const (
	findingContent = "content_scan" // the page was read, and is about what is blocked
	findingBomb    = "bomb"         // the reply unpacks to far more than a page has
)

// maxHeld is how much of a page is held, on the wire and unpacked.
const maxHeld = 64 << 10

// maxReading is how many pages are read at once; more pass unread, and are counted.
const maxReading = 256

// scans reports whether a reply is a page to be read.
func (s *Server) scans(o *outcome, r *http.Request, resp *http.Response) bool {
	if s.phrases == nil || o.ruling.Scan.Empty() || o.event.Host == "" || r.Method == http.MethodHead ||
		resp.Body == nil || resp.Body == http.NoBody || resp.ContentLength == 0 {
		return false
	}
	lines := resp.Header["Content-Type"]
	if len(lines) == 0 {
		return true // a browser looks for itself
	}
	for kind := range strings.SplitSeq(strings.Join(lines, ","), ",") { // of several, browsers believe the last they know
		switch kind = mediaType(kind); kind {
		case "text/html", "application/xhtml+xml", "text/xml", "application/xml": // XML may hold XHTML, and is shown as such
			return true
		case "unknown/unknown", "application/unknown", "*/*": // as good as none
			return true
		}
		if !strings.Contains(kind, "/") {
			return true
		}
	}
	return false
}

// partOfPage reports whether a reply is a part of a page that is to be read. Read without
// the rest it says little, and a browser asks for the rest of a page that was broken off.
func (s *Server) partOfPage(o *outcome, r *http.Request, resp *http.Response) bool {
	return resp.StatusCode == http.StatusPartialContent && s.scans(o, r, resp)
}

var errPart = errors.New("origin sends a page in parts alone")

// wholePage asks for all of a page in place of a part: nobody needs to heed a Range
// (RFC 9110 section 14.2).
func (s *Server) wholePage(x *exchange, r *http.Request, part *http.Response) (*http.Response, error) {
	part.Body.Close()
	if r.Body != nil && r.Body != http.NoBody {
		return nil, errPart // it cannot be sent again
	}
	unranged(r.Header)
	resp, err := s.origins.RoundTrip(r)
	if err == nil && s.partOfPage(&x.outcome, r, resp) {
		resp.Body.Close()
		return nil, errPart
	}
	return resp, err
}

func unranged(h http.Header) {
	delete(h, "Range")
	delete(h, "If-Range")
}

// readBeginning holds the beginning of a page until it has been read, and makes of
// what was found the outcome of the request.
func (s *Server) readBeginning(x *exchange, resp *http.Response) {
	if s.reading.Add(1) > maxReading {
		s.reading.Add(-1)
		s.metrics.pages.WithLabelValues("busy").Inc()
		return
	}
	coding := strings.Join(resp.Header["Content-Encoding"], ",")
	switch as := pagescan.Encoding(coding); as {
	case coding:
	case "":
		delete(resp.Header, "Content-Encoding")
	default:
		resp.Header["Content-Encoding"] = []string{as}
	}
	page := s.phrases.Open(lastOf(resp.Header["Content-Type"]), coding)
	b := &pageBody{ReadCloser: resp.Body, server: s, exchange: x, page: page, ahead: make(chan part, 1)}
	resp.Body, x.read = b, true
	b.hold(s.limits.ScanHold)
	b.judge()
}

func lastOf(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	return lines[len(lines)-1]
}

// pageBody is the body of a reply that is read as it passes. Its bytes are those
// of the origin.
type pageBody struct {
	io.ReadCloser
	server   *Server
	exchange *exchange
	page     *pagescan.Page

	held    []byte // read, and not passed on yet
	err     error  // of the origin, behind what is held
	ahead   chan part
	waiting bool // a read is under way, begun while holding
	refused bool // the page is closed: nothing more passes
	closed  bool
}

// part is what one read gave.
type part struct {
	bytes []byte
	err   error
}

// hold reads ahead until the beginning of the page has been seen, it is over, or
// the origin takes too long over it.
func (b *pageBody) hold(most time.Duration) {
	patience := time.NewTimer(most)
	defer patience.Stop()
	for b.err == nil && !b.page.Over() && len(b.held) < maxHeld && (b.page.Length() < maxHeld || b.page.Doubtful()) {
		b.waiting = true
		go b.readAhead()
		select {
		case p := <-b.ahead:
			b.take(p)
		case <-patience.C:
			b.page.Settle() // what came is shown, so it is read
			return
		}
	}
}

// readAhead makes one read. It may outlast the holding, but not the body: closing
// that ends it.
func (b *pageBody) readAhead() {
	buf := make([]byte, 16<<10)
	n, err := b.ReadCloser.Read(buf)
	b.ahead <- part{buf[:n], err}
}

func (b *pageBody) take(p part) {
	b.waiting = false
	b.held, b.err = append(b.held, p.bytes...), p.err
	b.feed(p.bytes, p.err)
}

// feed shows the page what came, and counts what was read of it and what was not.
func (b *pageBody) feed(p []byte, err error) {
	m := b.server.metrics
	if b.page.Over() {
		m.unread.Add(float64(len(p)))
	} else {
		m.read.Add(float64(len(p)))
	}
	b.page.Feed(p)
	if err == io.EOF {
		b.page.End()
	}
}

// judge closes the page if what was read of it is about something blocked.
func (b *pageBody) judge() {
	o, m := &b.exchange.outcome, b.server.metrics
	late := !o.open && b.exchange.writer.sent()
	if b.refused {
		return
	}
	if b.page.Bomb() {
		b.refused = true
		m.pages.WithLabelValues("bomb").Inc()
		b.server.tell(o, refuse(o.ruling, policy.ReasonProtocol), findingBomb, http.StatusForbidden)
		return
	}
	limit := o.ruling.Profile.Scan
	about, ok := b.page.About(limit, o.ruling.Scan)
	if !ok {
		return
	}
	b.refused = true
	kind := "blocked"
	if late {
		kind = "broken_off"
	}
	m.pages.WithLabelValues(kind).Inc()
	b.server.tell(o, o.ruling.Found(about.Theme), findingContent, http.StatusForbidden)
}

var errContent = errors.New("the page is about something blocked")

// Read passes on what is held, then what comes, once it has been read.
func (b *pageBody) Read(p []byte) (int, error) {
	if b.waiting && len(b.held) == 0 {
		b.take(<-b.ahead)
		b.judge()
	}
	if b.refused {
		return 0, errContent
	}
	if len(b.held) > 0 {
		n := copy(p, b.held)
		if b.held = b.held[n:]; len(b.held) == 0 {
			b.held = nil // the memory of it
		}
		return n, nil
	}
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.ReadCloser.Read(p)
	b.err = err
	over := b.page.Over()
	b.feed(p[:n], err)
	if !over {
		if b.judge(); b.refused {
			return 0, errContent
		}
	}
	return n, err
}

// Close ends the reading.
func (b *pageBody) Close() error {
	if !b.closed {
		b.closed = true
		if !b.refused {
			b.server.metrics.pages.WithLabelValues(b.end()).Inc()
		}
		b.page.Close()
		b.server.reading.Add(-1)
	}
	return b.ReadCloser.Close()
}

// end is the word for how a page that passed was read.
func (b *pageBody) end() string {
	switch {
	case b.page.Err() != nil:
		return "unreadable"
	case b.page.Length() >= pagescan.MaxPage:
		return "part"
	}
	return "passed"
}

// readable takes from a request what would bring a page that we cannot read: other
// codings, dictionaries that only the browser has, and several parts in one.
func readable(h http.Header) {
	if strings.Contains(strings.Join(h["Range"], ","), ",") {
		unranged(h)
	}
	delete(h, "Available-Dictionary")
	delete(h, "Dictionary-Id")
	lines, ok := h["Accept-Encoding"]
	if !ok {
		return
	}
	var kept []string
	for token := range strings.SplitSeq(strings.Join(lines, ","), ",") {
		name, _, _ := strings.Cut(token, ";")
		if slices.Contains(pagescan.Readable, strings.ToLower(strings.TrimSpace(name))) {
			kept = append(kept, strings.TrimSpace(token))
		}
	}
	if len(kept) == 0 {
		kept = []string{"identity"}
	}
	h["Accept-Encoding"] = []string{strings.Join(kept, ", ")}
}
