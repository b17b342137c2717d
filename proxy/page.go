package proxy

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"

	"schoolgate/policy"
	"schoolgate/proxy/inspect"
)

// EventHeader carries the event's ID on every answer to an explicit request, so
// that a page, a trace and the journal can be laid side by side. An answer whose
// event is only counted has none.
const EventHeader = "Schoolgate-Event"

// refer puts the event's ID into the head of an answer.
func (o *outcome) refer(h http.Header) {
	delete(h, EventHeader) // of an origin that plays us
	if o.event.ID != 0 {
		h[EventHeader] = []string{o.event.ID.String()}
	}
}

var noStore = []string{"no-store"}

// page is our own answer for a recorded event, as a reply to r. If the page
// cannot be written the plainest one is sent: a refusal never fails open.
func (s *Server) page(r *http.Request, o *outcome) *http.Response {
	h := make(http.Header, 8) // as many as a page has
	body, err := s.pages.Page(h, o.ruling, &o.event, takesGzip(r.Header))
	if err != nil {
		s.log.Error("page not written, sending the plain one", "err", err)
		h = http.Header{"Content-Type": {"text/plain; charset=utf-8"}}
		body = []byte("This page cannot be shown. Please ask your teacher.\n")
	}
	h["Cache-Control"] = noStore
	if o.event.Status == http.StatusProxyAuthRequired {
		h.Set("Proxy-Authenticate", basic)
	}
	o.refer(h)
	return ownResponse(r, o.event.Status, h, body)
}

// takesGzip reports whether a client takes what is compressed with gzip (RFC 9110
// section 12.5.3); one that says nothing may not.
func takesGzip(h http.Header) bool {
	for _, line := range h["Accept-Encoding"] {
		for token := range strings.SplitSeq(line, ",") {
			name, weight, _ := strings.Cut(token, ";")
			if strings.EqualFold(strings.TrimSpace(name), "gzip") {
				if weight == "" {
					return true
				}
				q, err := strconv.ParseFloat(strings.TrimPrefix(strings.TrimSpace(weight), "q="), 32)
				return err == nil && q > 0
			}
		}
	}
	return false
}

func ownResponse(r *http.Request, status int, h http.Header, body []byte) *http.Response {
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	return &http.Response{
		Request: r, StatusCode: status, Status: strconv.Itoa(status) + " " + http.StatusText(status),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: h,
		ContentLength: int64(len(body)), Body: io.NopCloser(bytes.NewReader(body)),
	}
}

// send writes a response of our own to a client that was not hijacked.
func send(w http.ResponseWriter, resp *http.Response) error {
	defer resp.Body.Close()
	for k, v := range resp.Header {
		w.Header()[k] = v
	}
	w.WriteHeader(resp.StatusCode)
	_, err := io.Copy(w, resp.Body)
	return err
}

// failed is the page for an origin that could not be reached after its request
// was allowed: the reference is the request's own event.
func (s *Server) failed(r *http.Request, o *outcome, err error) *http.Response {
	if finding, status := distrust(err); finding != "" {
		s.tell(o, refuse(o.ruling, policy.ReasonProtocol), finding, status)
		return s.page(r, o)
	}
	o.event.Status = errorStatus(err)
	s.seal(o)
	return s.page(r, o)
}

// distrust is what an error says against an origin that was allowed and then
// turned out not to be what it seemed; "" for ordinary trouble.
func distrust(err error) (finding string, status int) {
	var refused *inspect.Refused
	switch {
	case errors.As(err, &refused):
		return findingCertificate, http.StatusBadGateway
	case errors.Is(err, errDoH):
		return findingDoH, http.StatusForbidden
	}
	return "", 0
}

// tell records that what was allowed is refused after all, by another ruling: in the
// request's own event while that is open, else in one more. The reference on the page
// leads IT to the reason.
func (s *Server) tell(o *outcome, r policy.Ruling, finding string, status int) {
	o.ruling = r
	if !o.open {
		o.event.ID, o.event.Time, o.open = 0, now(), true
	}
	e := &o.event
	e.Verdict, e.Reason, e.Category, e.Rule = r.Verdict, r.Reason, r.Category, r.Rule.String()
	e.Severity, e.Finding, e.Status = max(e.Severity, r.Severity), finding, status
	if r.Reason == policy.ReasonContent && e.Theme == "" {
		e.Theme = r.Category.String()
	}
	s.seal(o)
}
