package blockpage

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"hash/crc32"
	"html/template"
	"sync"
)

// A page differs from the last of its kind by host, reference and tokens alone, so
// the rest is kept, as it is and compressed: a class of thirty that runs into one
// block page costs thirty copies and not thirty templates (30 µs each).

// slot is a place on a page for what is not kept.
type slot uint8

const (
	noSlot slot = iota
	hostSlot
	referenceSlot
	tokenSlot
	onwardSlot
	slotCount
)

// marks stand on a pattern where a slot is. Such a text passes the escaper unchanged
// and stands, like what goes there, only where text stands.
var marks = [slotCount]string{
	hostSlot: "schoolgate-slot-host", referenceSlot: "schoolgate-slot-reference",
	tokenSlot: "schoolgate-slot-token", onwardSlot: "schoolgate-slot-onward",
}

// fields are what of a view goes into the slots.
func (v *View) fields() [slotCount]*string {
	return [slotCount]*string{hostSlot: &v.Host, referenceSlot: &v.Reference, tokenSlot: &v.Token, onwardSlot: &v.Onward}
}

// pattern is a kind of page.
type pattern struct {
	policy []string // for Content-Security-Policy
	pieces []piece
}

// piece is a part of a page, and what comes behind it.
type piece struct {
	text   []byte
	packed []byte // the same as blocks of DEFLATE, which refer to nothing before them
	slot   slot
}

// filling is what goes into the slots, fit for HTML.
type filling [slotCount]string

// maxPatterns bounds how many kinds of page are kept. Beyond it all are dropped
// and made anew as they are asked for.
const maxPatterns = 512

var patterns struct {
	sync.RWMutex
	kept map[View]*pattern
}

// Render writes the page for v.
func Render(v View) ([]byte, error) {
	p, f, err := patternOf(v)
	if err != nil {
		return nil, err
	}
	return p.plain(&f), nil
}

func patternOf(v View) (_ *pattern, f filling, err error) {
	for i, text := range v.fields() {
		if text != nil && *text != "" {
			f[i], *text = template.HTMLEscapeString(*text), marks[i]
		}
	}
	patterns.RLock()
	p := patterns.kept[v]
	patterns.RUnlock()
	if p == nil {
		if p, err = newPattern(v); err != nil {
			return nil, f, err
		}
		keep(v, p)
	}
	return p, f, nil
}

func keep(v View, p *pattern) {
	patterns.Lock()
	defer patterns.Unlock()
	if patterns.kept == nil || len(patterns.kept) >= maxPatterns {
		patterns.kept = map[View]*pattern{}
	}
	patterns.kept[v] = p
}

// newPattern takes a page apart at its slots.
func newPattern(v View) (*pattern, error) {
	text, policy, err := execute(v)
	if err != nil {
		return nil, err
	}
	var packed bytes.Buffer
	w, err := flate.NewWriter(&packed, flate.BestCompression)
	if err != nil {
		return nil, err
	}
	p := &pattern{policy: policy}
	for len(text) > 0 {
		at, next := len(text), noSlot
		for s, mark := range marks {
			if i := bytes.Index(text, []byte(mark)); mark != "" && i >= 0 && i < at {
				at, next = i, slot(s)
			}
		}
		packed.Reset()
		w.Reset(&packed) // each piece by itself: any text may stand before it
		if _, err := w.Write(text[:at]); err != nil {
			return nil, err
		}
		if err := w.Flush(); err != nil { // to a whole byte, where another block can begin
			return nil, err
		}
		p.pieces = append(p.pieces, piece{text[:at], bytes.Clone(packed.Bytes()), next})
		text = text[at+len(marks[next]):]
	}
	return p, nil
}

func (p *pattern) plain(f *filling) []byte {
	size := 0
	for i := range p.pieces {
		size += len(p.pieces[i].text) + len(f[p.pieces[i].slot])
	}
	page := make([]byte, 0, size)
	for i := range p.pieces {
		page = append(page, p.pieces[i].text...)
		page = append(page, f[p.pieces[i].slot]...)
	}
	return page
}

// gzip is the page compressed (RFC 1952). What goes into the slots is not: how long
// the page is tells nobody what a token has in common with the name of a host.
func (p *pattern) gzip(f *filling) []byte {
	const (
		head = "\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff" // DEFLATE, no time and no name, packed as well as can be, by any system
		end  = "\x03\x00"                                 // the last block, with nothing in it
	)
	size := len(head) + len(end) + 8
	for i := range p.pieces {
		size += len(p.pieces[i].packed) + storedSize(f[p.pieces[i].slot])
	}
	page := append(make([]byte, 0, size), head...)
	sum, length := uint32(0), 0
	for i := range p.pieces {
		text, inside := p.pieces[i].text, f[p.pieces[i].slot]
		page = append(page, p.pieces[i].packed...)
		sum = crc32.Update(sum, crc32.IEEETable, text)
		page, sum = appendStored(page, inside, sum)
		length += len(text) + len(inside)
	}
	page = append(page, end...)
	page = binary.LittleEndian.AppendUint32(page, sum)
	return binary.LittleEndian.AppendUint32(page, uint32(length))
}

const maxStored = 1<<16 - 1 // bytes in a block of DEFLATE that is not compressed

func storedSize(text string) int { return len(text) + 5*((len(text)+maxStored-1)/maxStored) }

// appendStored adds text in blocks that are not compressed (RFC 1951, 3.2.4), and to the
// checksum of what was before it.
func appendStored(page []byte, text string, sum uint32) ([]byte, uint32) {
	for len(text) > 0 {
		n := min(len(text), maxStored)
		page = append(page, 0)
		page = binary.LittleEndian.AppendUint16(page, uint16(n))
		page = binary.LittleEndian.AppendUint16(page, ^uint16(n))
		page = append(page, text[:n]...)
		sum = crc32.Update(sum, crc32.IEEETable, page[len(page)-n:])
		text = text[n:]
	}
	return page, sum
}
