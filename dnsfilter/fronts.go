package dnsfilter

import "sync"

// fronts are the names that browsers show in place of encrypted ones (ECH), learnt
// from the records that the keys are taken out of (Y6): whoever has such a key from
// elsewhere is told by the name and the number of the key that they show. Anybody may
// publish a record that names somebody else's site, so few keys of each are kept: a
// number is a byte, and the made-up ones of browsers (GREASE) would meet it by chance.
type fronts struct {
	mu    sync.Mutex
	names map[string]*frontKeys
}

// frontKeys are the keys of one name told last; keys change in hours.
type frontKeys struct {
	keys [keysOfFront]uint8
	n    int // told so far
}

const (
	maxFronts   = 4096
	keysOfFront = 4
)

// add hears of a key in a record of owner. A site that shows a name of its own hides
// nothing that matters.
func (f *fronts) add(owner, front string, key uint8) {
	if domainOf(owner) == domainOf(front) {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	k := f.names[front]
	if k == nil {
		for old := range f.names { // any of them: it is told again with the next record
			if len(f.names) < maxFronts {
				break
			}
			delete(f.names, old)
		}
		if f.names == nil {
			f.names = map[string]*frontKeys{}
		}
		k = &frontKeys{}
		f.names[front] = k
	}
	if !k.has(key) {
		k.keys[k.n%keysOfFront] = key
		k.n++
	}
}

func (k *frontKeys) has(key uint8) bool {
	for _, known := range k.keys[:min(k.n, keysOfFront)] {
		if known == key {
			return true
		}
	}
	return false
}

// ECHFront reports whether sites have published an encrypted-hello key of that number
// under which browsers show the name.
func (s *Server) ECHFront(name string, key uint8) bool {
	s.fronts.mu.Lock()
	defer s.fronts.mu.Unlock()
	k := s.fronts.names[name]
	return k != nil && k.has(key)
}
