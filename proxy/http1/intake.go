package http1

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// intake is what a client sent and nobody has taken yet. It shows the head of a
// request as it came, before Go's parser sees it: what two parsers could read in
// two ways is refused here and never made right (T7).
type intake struct {
	conn net.Conn
	buf  []byte
	r, w int // buf[r:w] is there
	head int // of it, what belongs to the head that is being parsed
}

const firstHead = 4 << 10

// Read gives the head and no more of what is there, so that no parser takes what
// comes behind; after it, what is there, and then what comes.
func (in *intake) Read(p []byte) (int, error) {
	if in.r == in.w {
		return in.conn.Read(p)
	}
	end := in.w
	if in.head > 0 {
		end = in.r + in.head
	}
	n := copy(p, in.buf[in.r:end])
	in.take(n)
	return n, nil
}

func (in *intake) take(n int) {
	in.r += n
	in.head = max(0, in.head-n)
	if in.r == in.w {
		in.r, in.w = 0, 0
	}
}

// fill waits for more.
func (in *intake) fill() error {
	if in.buf == nil || in.r == in.w && len(in.buf) > firstHead { // who waits needs no more than that
		in.r, in.w = 0, 0
		in.buf = make([]byte, firstHead)
	}
	if in.w == len(in.buf) && in.r > 0 {
		in.w = copy(in.buf, in.buf[in.r:in.w])
		in.r = 0
	}
	if in.w == len(in.buf) {
		in.buf = append(in.buf, make([]byte, len(in.buf))...)
	}
	n, err := in.conn.Read(in.buf[in.w:])
	in.w += n
	if n > 0 {
		return nil
	}
	return err
}

// unread puts back what a parser took and did not use.
func (in *intake) unread(p []byte) {
	if len(p) == 0 {
		return
	}
	rest := in.buf[in.r:in.w]
	if in.r >= len(p) {
		in.r -= copy(in.buf[in.r-len(p):], p)
		return
	}
	in.buf = append(bytes.Clone(p), rest...)
	in.r, in.w = 0, len(in.buf)
}

// there is what was read and not taken.
func (in *intake) there() []byte { return in.buf[in.r:in.w] }

var (
	errHeadTooLarge = errors.New("headers too large")
	errHead         = errors.New("head that could be read in more than one way")
)

// maxFields is how many header lines a request may have.
const maxFields = 256

// readHead reads up to the blank line that ends the headers and checks them. more
// is called before it waits in the middle of a head.
func (in *intake) readHead(max int, more func() error) (head, error) {
	for seen := 0; ; {
		there := in.there()
		if end := endOfHead(there, seen); end > 0 {
			if end > max {
				return head{}, errHeadTooLarge
			}
			in.head = end
			return parseHead(there[:end])
		}
		if seen = len(there); seen > max {
			return head{}, errHeadTooLarge
		}
		if err := more(); err != nil {
			return head{}, err
		}
		if err := in.fill(); err != nil {
			return head{}, err
		}
	}
}

// endOfHead is where the first blank line of p ends, 0 if there is none yet. It has
// been looked for in the first seen bytes.
func endOfHead(p []byte, seen int) int {
	for i := max(0, seen-3); ; {
		n := bytes.IndexByte(p[i:], '\n')
		if n < 0 {
			return 0
		}
		i += n + 1
		switch rest := p[i:]; {
		case len(rest) > 0 && rest[0] == '\n':
			return i + 1
		case len(rest) > 1 && rest[0] == '\r' && rest[1] == '\n':
			return i + 2
		}
	}
}

// head is what the head of a request says of how to read what comes behind it.
type head struct {
	hosts, lengths, codings int
	old                     bool // HTTP/1.0
	bodied                  bool // a body comes behind it
}

// parseHead checks the head of a request line by line: lines end in CRLF, names are
// tokens with the colon right behind, no line goes on in the next, no control
// characters, one Host, and one thing at most that says how long the body is.
func parseHead(p []byte) (head, error) {
	var h head
	line, rest, ok := cutLine(p)
	if !ok {
		return h, errHead
	}
	connect := bytes.HasPrefix(line, []byte("CONNECT "))
	h.old = bytes.HasSuffix(line, []byte(" HTTP/1.0"))
	for fields := 0; ; fields++ {
		if line, rest, ok = cutLine(rest); !ok {
			return h, errHead
		}
		if len(line) == 0 {
			break
		}
		if fields == maxFields {
			return h, errHeadTooLarge
		}
		if !h.field(line) {
			return h, errHead
		}
	}
	switch {
	case h.hosts > 1, h.hosts == 0 && !h.old && !connect:
	case h.lengths+h.codings > 1, h.codings > 0 && h.old:
	case connect && h.bodied: // would it be of the request, or for the tunnel?
	default:
		return h, nil
	}
	return h, errHead
}

// cutLine is a line without its CRLF, and what follows; false if it ends otherwise
// or holds a control character.
func cutLine(p []byte) (line, rest []byte, ok bool) {
	n := bytes.IndexByte(p, '\n')
	if n < 1 || p[n-1] != '\r' {
		return nil, nil, false
	}
	line = p[:n-1]
	for _, c := range line {
		if c < ' ' && c != '\t' || c == 0x7f {
			return nil, nil, false
		}
	}
	return line, p[n+1:], true
}

// field looks at one header line.
func (h *head) field(line []byte) bool {
	colon := bytes.IndexByte(line, ':')
	if colon < 1 {
		return false
	}
	for _, c := range line[:colon] { // a line that goes on begins with a space, which is no token either
		if !httpguts.IsTokenRune(rune(c)) {
			return false
		}
	}
	name, value := line[:colon], line[colon+1:]
	switch {
	case is(name, "Host"):
		h.hosts++
		return httpguts.ValidHostHeader(string(bytes.Trim(value, " \t")))
	case is(name, "Content-Length"):
		h.lengths++
		value = bytes.Trim(value, " \t")
		h.bodied = len(bytes.Trim(value, "0")) > 0
		return len(value) > 0 && len(value) < 19 && len(bytes.Trim(value, "0123456789")) == 0
	case is(name, "Transfer-Encoding"):
		h.codings++
		h.bodied = true
		return is(bytes.Trim(value, " \t"), "chunked")
	}
	return true
}

func is(text []byte, word string) bool {
	return len(text) == len(word) && strings.EqualFold(string(text), word)
}

var _ io.Reader = (*intake)(nil)
