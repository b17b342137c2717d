// Package sniff reads the ClientHello of a TLS connection and keeps every byte
// of it, so that the connection can be decided on and then handed on untouched.
//
// In order: it reads records, joins the handshake fragments in them, and picks
// the server name, the ALPN list, the versions and the ECH extension out of the
// message. It never writes, never answers, never keeps time (the caller sets
// the deadline on what it reads from) and never reads past the bound it is given.
package sniff

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// MaxHello is the largest ClientHello read where [Limits] names none. A hello
// with post-quantum keys is about 2 KiB; this leaves room for all that may come.
const MaxHello = 64 << 10

// What a peer may send instead of one whole ClientHello with one name. Every
// error of Read but those of the reader itself wraps one of these.
var (
	ErrNotTLS    = errors.New("not TLS")
	ErrSSLv2     = errors.New("SSLv2 hello")
	ErrTooLarge  = errors.New("ClientHello beyond the bound")
	ErrMalformed = errors.New("malformed ClientHello")
	ErrTwoNames  = errors.New("ClientHello with two server names")
	ErrTruncated = errors.New("connection ended inside the ClientHello")
)

// Limits bounds one Read.
type Limits struct {
	Bytes int // most bytes read; 0 for MaxHello
	// Buffer is used for the bytes read while they fit; nil allocates. It
	// belongs to the Hello until the caller is done with it.
	Buffer []byte
}

// Hello is what the client said of itself. SNI is its claim, not proof.
type Hello struct {
	SNI string // as sent, not canonical; "" where none was sent
	ECH bool   // the encrypted_client_hello extension is there, real or GREASE
	// ECHKey is the number of the key that the extension names; GREASE has any.
	ECHKey uint8
	Raw    []byte // every byte read, to be replayed
	alpn   []byte // the protocol list, still encoded
	vers   []byte // supported_versions, still encoded
	old    uint16 // legacy_version
}

const (
	recordHeader    = 5
	recordHandshake = 22
	maxRecord       = 1 << 14
	messageHeader   = 4
	clientHello     = 1
)

// Read reads one ClientHello from r. Hello.Raw holds what was read even when
// the error is not nil, so a caller may say what came instead.
func Read(r io.Reader, l Limits) (Hello, error) {
	limit := l.Bytes
	if limit <= 0 {
		limit = MaxHello
	}
	in := input{r: r, raw: l.Buffer[:0], limit: limit}
	msg, err := in.message()
	h := Hello{Raw: in.raw}
	if err != nil {
		return h, err
	}
	err = h.parse(msg)
	return h, err
}

// input reads records and remembers them.
type input struct {
	r     io.Reader
	raw   []byte // all bytes read
	used  int    // of raw, how many the records consumed
	limit int
}

// message joins the fragments of the first handshake message. In the common
// case of one record it is a part of raw and nothing is copied.
func (in *input) message() ([]byte, error) {
	body, err := in.record()
	if err != nil {
		return nil, err
	}
	if body[0] != clientHello {
		return nil, fmt.Errorf("%w: handshake message of type %d", ErrMalformed, body[0])
	}
	start, joined := in.used-len(body), []byte(nil)
	for {
		if len(body) >= messageHeader {
			want := messageHeader + int(body[1])<<16 + int(body[2])<<8 + int(body[3])
			if want > in.limit {
				return nil, fmt.Errorf("%w: says it has %d bytes", ErrTooLarge, want)
			}
			if len(body) >= want {
				return body[messageHeader:want], nil
			}
		}
		if joined == nil {
			joined = append(make([]byte, 0, 2*len(body)+1024), in.raw[start:in.used]...)
		}
		next, err := in.record()
		if err != nil {
			return nil, err
		}
		joined = append(joined, next...)
		body = joined
	}
}

// record reads one handshake record and returns its body, never empty.
func (in *input) record() ([]byte, error) {
	head := in.used
	if err := in.fill(head + 1); err != nil {
		return nil, err
	}
	if first := in.raw[head]; first != recordHandshake {
		return nil, in.notTLS(head, first)
	}
	if err := in.fill(head + recordHeader); err != nil {
		return nil, err
	}
	if major := in.raw[head+1]; major != 3 {
		return nil, fmt.Errorf("%w: record version %d.%d", ErrNotTLS, major, in.raw[head+2])
	}
	n := int(binary.BigEndian.Uint16(in.raw[head+3:]))
	if n == 0 || n > maxRecord {
		return nil, fmt.Errorf("%w: record of %d bytes", ErrMalformed, n)
	}
	end := head + recordHeader + n
	if err := in.fill(end); err != nil {
		return nil, err
	}
	in.used = end
	return in.raw[head+recordHeader : end], nil
}

// notTLS says what else the bytes at head are.
func (in *input) notTLS(head int, first byte) error {
	if head > 0 {
		return fmt.Errorf("%w: record of type %d inside it", ErrMalformed, first)
	}
	if first&0x80 != 0 {
		// An SSLv2 header: two bytes of length, then the message type.
		if err := in.fill(3); err == nil && in.raw[2] == clientHello {
			return ErrSSLv2
		}
	}
	return fmt.Errorf("%w: first byte 0x%02x", ErrNotTLS, first)
}

// fill reads until raw holds at least n bytes. It takes what one read gives and
// so may hold more than asked for: all of it is kept in raw.
func (in *input) fill(n int) error {
	if n > in.limit {
		return ErrTooLarge
	}
	for len(in.raw) < n {
		if cap(in.raw) < n || cap(in.raw) == len(in.raw) {
			grown := make([]byte, len(in.raw), min(in.limit, max(2*cap(in.raw), n, 2048)))
			copy(grown, in.raw)
			in.raw = grown
		}
		end := min(cap(in.raw), in.limit)
		got, err := in.r.Read(in.raw[len(in.raw):end])
		in.raw = in.raw[:len(in.raw)+got]
		if len(in.raw) >= n {
			return nil
		}
		if err == io.EOF {
			return fmt.Errorf("%w: %w", ErrTruncated, io.ErrUnexpectedEOF)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
