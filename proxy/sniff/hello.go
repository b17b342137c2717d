package sniff

import (
	"encoding/binary"
	"fmt"
	"iter"
)

// Extensions that a door looks at.
const (
	extServerName        = 0
	extALPN              = 16
	extSupportedVersions = 43
	extECH               = 0xfe0d
)

// cursor takes a message apart; ok turns false where it ends too early and
// stays so, which lets a run of reads be checked once.
type cursor struct {
	b  []byte
	ok bool
}

func (c *cursor) take(n int) []byte {
	if !c.ok || len(c.b) < n {
		c.ok = false
		return nil
	}
	head := c.b[:n]
	c.b = c.b[n:]
	return head
}

func (c *cursor) uint8() int {
	if b := c.take(1); c.ok {
		return int(b[0])
	}
	return 0
}

func (c *cursor) uint16() uint16 {
	if b := c.take(2); c.ok {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (c *cursor) vector8() []byte  { return c.take(c.uint8()) }
func (c *cursor) vector16() []byte { return c.take(int(c.uint16())) }

// parse reads the body of a ClientHello (RFC 8446 section 4.1.2).
func (h *Hello) parse(msg []byte) error {
	c := cursor{msg, true}
	h.old = c.uint16()
	c.take(32)   // random
	c.vector8()  // session id
	c.vector16() // cipher suites
	c.vector8()  // compression methods
	if !c.ok {
		return fmt.Errorf("%w: it ends before its extensions", ErrMalformed)
	}
	if len(c.b) == 0 {
		return nil // no extensions at all, as old clients send
	}
	ext := cursor{c.vector16(), true}
	if !c.ok || len(c.b) != 0 {
		return fmt.Errorf("%w: extensions and message differ in length", ErrMalformed)
	}
	return h.extensions(&ext)
}

func (h *Hello) extensions(c *cursor) error {
	var name, alpn, versions, ech bool // each may come once
	for len(c.b) > 0 {
		kind := c.uint16()
		body := c.vector16()
		if !c.ok {
			return fmt.Errorf("%w: extension cut short", ErrMalformed)
		}
		var err error
		switch kind {
		case extServerName:
			if name {
				return fmt.Errorf("%w: the extension comes twice", ErrTwoNames)
			}
			name, err = true, h.serverName(body)
		case extALPN:
			err = once(&alpn)
			if err == nil {
				err = h.protocols(body)
			}
		case extSupportedVersions:
			err = once(&versions)
			if err == nil {
				err = h.versions(body)
			}
		case extECH:
			err = once(&ech)
			h.ECH = true
			if len(body) > 5 && body[0] == 0 { // outer: two numbers of a cipher suite, then the key's
				h.ECHKey = body[5]
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func once(seen *bool) error {
	if *seen {
		return fmt.Errorf("%w: an extension comes twice", ErrMalformed)
	}
	*seen = true
	return nil
}

// serverName reads the list of names, which may hold exactly one host (RFC 6066
// section 3). Two are a way to show one name to us and another to the origin.
func (h *Hello) serverName(body []byte) error {
	outer := cursor{body, true}
	list := cursor{outer.vector16(), true}
	if !outer.ok || len(outer.b) != 0 || len(list.b) == 0 {
		return fmt.Errorf("%w: server name list", ErrMalformed)
	}
	for len(list.b) > 0 {
		kind, name := list.uint8(), list.vector16()
		if !list.ok || len(name) == 0 {
			return fmt.Errorf("%w: server name", ErrMalformed)
		}
		if kind != 0 {
			continue // no other kind was ever defined; what it holds is not a host
		}
		if h.SNI != "" {
			return ErrTwoNames
		}
		h.SNI = string(name)
	}
	return nil
}

func (h *Hello) protocols(body []byte) error {
	outer := cursor{body, true}
	list := cursor{outer.vector16(), true}
	if !outer.ok || len(outer.b) != 0 {
		return fmt.Errorf("%w: ALPN list", ErrMalformed)
	}
	h.alpn = list.b
	for len(list.b) > 0 {
		if list.vector8(); !list.ok {
			return fmt.Errorf("%w: ALPN name", ErrMalformed)
		}
	}
	return nil
}

func (h *Hello) versions(body []byte) error {
	outer := cursor{body, true}
	list := outer.vector8()
	if !outer.ok || len(outer.b) != 0 || len(list)%2 != 0 {
		return fmt.Errorf("%w: version list", ErrMalformed)
	}
	h.vers = list
	return nil
}

// ALPN yields the protocols the client offers, in its order of preference.
func (h *Hello) ALPN() iter.Seq[string] {
	return func(yield func(string) bool) {
		for list := (cursor{h.alpn, true}); len(list.b) > 0; {
			if name := list.vector8(); !list.ok || !yield(string(name)) {
				return
			}
		}
	}
}

// MaxVersion is the newest TLS version offered, e.g. 0x0304; GREASE values do
// not count (RFC 8701).
func (h *Hello) MaxVersion() uint16 {
	newest := uint16(0)
	for list := h.vers; len(list) >= 2; list = list[2:] {
		if v := binary.BigEndian.Uint16(list); v>>8 == 3 {
			newest = max(newest, v)
		}
	}
	if newest == 0 {
		return h.old
	}
	return newest
}
