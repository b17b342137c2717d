package dnsfilter

import (
	"sync"

	"schoolgate/policy"
)

// names turns names in wire form into hosts, and remembers the ones it has read:
// reading one costs more than deciding it. It is two tables of a fixed size, the
// young and the old; when the young one is full, the old one is forgotten.
type names struct {
	mu         sync.RWMutex
	young, old map[string]name
	size       int
}

// name is a question's name as the policy sees it.
type name struct {
	host policy.Host
	// odd: the name cannot be read the same way twice. Then host is the nearest
	// parent that can, so that what is known of the parent is not lost.
	odd bool
}

func newNames(size int) *names {
	return &names{young: make(map[string]name), old: make(map[string]name), size: size}
}

// read gives the name for its wire form in lower case.
func (t *names) read(wire []byte) name {
	t.mu.RLock()
	n, ok := t.young[string(wire)]
	var aged bool
	if !ok {
		n, aged = t.old[string(wire)]
	}
	t.mu.RUnlock()
	if ok {
		return n
	}
	if !aged {
		n = parseName(wire)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.young) >= t.size {
		t.young, t.old = t.old, t.young
		clear(t.young)
	}
	t.young[string(wire)] = n
	return n
}

// parseName reads a wire name. The root is the zero Host: it holds no site.
func parseName(wire []byte) name {
	var buf [256]byte
	odd := false
	for len(wire) > 1 {
		text, ok := appendText(buf[:0], wire)
		if ok {
			host, err := policy.ParseHost(string(text))
			// What ParseHost would rewrite, our upstream would read otherwise.
			if err == nil && host.String() == string(text) {
				return name{host: host, odd: odd}
			}
		}
		odd = true
		wire = wire[1+int(wire[0]):]
	}
	return name{odd: odd}
}

// appendText writes the labels with dots between them; false if one of them
// holds a byte that a host's name has not. Service names have underscores.
func appendText(b, wire []byte) ([]byte, bool) {
	for len(wire) > 1 {
		n := int(wire[0])
		for _, c := range wire[1 : 1+n] {
			switch {
			case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_':
			default:
				return nil, false
			}
		}
		if len(b) > 0 {
			b = append(b, '.')
		}
		b = append(b, wire[1:1+n]...)
		wire = wire[1+n:]
	}
	return b, true
}

// wireName writes a host in wire form; false if it has none.
func wireName(h policy.Host) ([]byte, bool) {
	if _, isAddr := h.Addr(); isAddr || h.IsZero() {
		return nil, false
	}
	text := h.String()
	wire := make([]byte, 0, len(text)+2)
	for len(text) > 0 {
		label := text
		for i := range len(text) {
			if text[i] == '.' {
				label = text[:i]
				break
			}
		}
		if len(label) == 0 || len(label) > 63 {
			return nil, false
		}
		wire = append(append(wire, byte(len(label))), label...)
		text = text[min(len(label)+1, len(text)):]
	}
	return append(wire, 0), len(wire) < 255
}
