package proxy

import (
	"bytes"
	"io"
	"net/http"
	"time"

	"schoolgate/policy"
)

// Watch hears what is searched for. It must be safe for concurrent use.
type Watch interface {
	// Posts reports whether what is sent to an address may hold the words of a search.
	Posts(h policy.Host, path string) bool
	// Search is what a request searched for, under the ruling on it. body is the
	// beginning of what it sent, where Posts asked for that.
	Search(q *policy.Request, r *policy.Ruling, body Body) policy.Search
}

// Body is the beginning of what a request sent, and what its headers say of it.
type Body struct {
	Type, Encoding string
	Start          []byte
}

// maxPeek is how much of a posted search is looked at, in bytes.
const maxPeek = 64 << 10

// peekSearch reads the beginning of a posted search and puts it back: the origin
// gets the body as it was sent. What cannot be read in the time for headers has
// no words, and breaks for the origin as it broke here.
func (s *Server) peekSearch(r *http.Request, t *target, control *http.ResponseController) {
	if s.watch == nil || r.Method != http.MethodPost || r.Body == nil || r.Body == http.NoBody ||
		t.refused != policy.ReasonNotReady || !s.watch.Posts(t.Host, t.Path) {
		return
	}
	start, err := io.ReadAll(io.LimitReader(r.Body, maxPeek)) // the handler set the deadline for headers
	if err == nil && len(start) < maxPeek {
		// net/http watches the connection from here on: see patientBody.
		err = control.SetReadDeadline(time.Time{})
	}
	again := []io.Reader{bytes.NewReader(start), r.Body}
	if err != nil {
		again[1] = failing{err}
	}
	r.Body = &peekedBody{io.MultiReader(again...), r.Body}
	t.body = Body{Type: mediaType(r.Header.Get("Content-Type")), Encoding: r.Header.Get("Content-Encoding"), Start: start}
}

// peekedBody is a body whose beginning has been read already.
type peekedBody struct {
	io.Reader
	io.Closer
}

// failing gives an error that reading met before.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// hear is what was searched for. A search is what the URL says, so only the doors
// that see one hear anything; a help-line hears nothing (F10).
func (s *Server) hear(t *target, o *outcome) (none policy.Search) {
	if s.watch == nil || o.ruling.Shielded || t.Door != policy.DoorHTTP && t.Door != policy.DoorInspect {
		return none
	}
	return s.watch.Search(&t.Request, &o.ruling, t.body)
}
