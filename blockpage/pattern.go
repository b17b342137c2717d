package blockpage

import (
	"bytes"
	"html/template"
	"sync"
)

// A page differs from the last of its kind by host and reference alone, so the
// rest is kept: a class of thirty that runs into one block page costs thirty
// copies and not thirty templates (30 µs each).

// slot is where one of the two goes. Its text passes the escaper unchanged and
// stands, like theirs, only where text stands.
const (
	hostSlot      = "schoolgate-slot-host"
	referenceSlot = "schoolgate-slot-reference"
	tokenSlot     = "schoolgate-slot-token"
)

// piece is a part of a page: text as it is, or one of the slots.
type piece struct {
	text []byte
	slot string
}

// maxPatterns bounds how many kinds of page are kept. Beyond it all are dropped
// and made anew as they are asked for.
const maxPatterns = 512

var patterns struct {
	sync.RWMutex
	kept map[View][]piece
}

// Render writes the page for v.
func Render(v View) ([]byte, error) {
	k := v
	if v.Host != "" {
		k.Host = hostSlot
	}
	if v.Reference != "" {
		k.Reference = referenceSlot
	}
	if v.Token != "" {
		k.Token = tokenSlot
	}
	patterns.RLock()
	p, ok := patterns.kept[k]
	patterns.RUnlock()
	if !ok {
		page, err := execute(k)
		if err != nil {
			return nil, err
		}
		p = cut(page)
		keep(k, p)
	}
	return fill(p, map[string]string{
		hostSlot: template.HTMLEscapeString(v.Host), referenceSlot: template.HTMLEscapeString(v.Reference), tokenSlot: template.HTMLEscapeString(v.Token),
	}), nil
}

func keep(k View, p []piece) {
	patterns.Lock()
	defer patterns.Unlock()
	if patterns.kept == nil || len(patterns.kept) >= maxPatterns {
		patterns.kept = map[View][]piece{}
	}
	patterns.kept[k] = p
}

// cut takes a page apart at its slots.
func cut(page []byte) (pieces []piece) {
	for len(page) > 0 {
		at, slot := len(page), ""
		for _, s := range []string{hostSlot, referenceSlot, tokenSlot} {
			if i := bytes.Index(page, []byte(s)); i >= 0 && i < at {
				at, slot = i, s
			}
		}
		pieces = append(pieces, piece{page[:at], slot})
		page = page[at+len(slot):]
	}
	return pieces
}

func fill(pieces []piece, slots map[string]string) []byte {
	size := 0
	for _, p := range pieces {
		size += len(p.text) + len(slots[p.slot])
	}
	page := make([]byte, 0, size)
	for _, p := range pieces {
		page = append(page, p.text...)
		page = append(page, slots[p.slot]...)
	}
	return page
}
