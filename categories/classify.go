package categories

import (
	"bytes"
	"hash/maphash"
	"runtime"
	"runtime/debug"
	"slices"

	"schoolgate/policy"
)

var _ policy.Classifier = (*Store)(nil)

// Classify says what the lists hold on a host, and on a page where path is
// given. It allocates nothing, except for a host on a mandatory list.
func (s *Store) Classify(h policy.Host, path string) (f policy.Facts) {
	defer s.guard(&f, debug.SetPanicOnFault(true))
	if s.secret.n != 0 {
		s.mandatory(h, path, &f)
	}
	s.walk(h, path, &f)
	runtime.KeepAlive(s) // the index is mapped, which the collector does not see
	return f
}

// guard turns a fault in the mapped file into a refusal (faults F5, F6).
func (s *Store) guard(f *policy.Facts, old bool) {
	debug.SetPanicOnFault(old)
	if r := recover(); r != nil {
		*f = s.unreadable(r)
	}
}

// walk hashes the host label by label from the right and joins what the entries
// on the way say, from the top of the tree down.
func (s *Store) walk(h policy.Host, path string, f *policy.Facts) {
	name := h.String()
	var j join
	if _, ok := h.Addr(); ok {
		s.visit(&j, f, h, path, s.index.seed.address(name), 0, len(name))
		f.Categories = j.cats
		return
	}
	hash := s.index.seed.start()
	for label, end := 0, len(name); ; label++ {
		start := end
		for start > 0 && name[start-1] != '.' {
			start--
		}
		hash = s.index.seed.label(hash, name[start:end])
		if label > 0 || isWholeTop(name[start:end]) {
			if label < 3 && name[start:end] == mirror && country(name[end:], label) {
				hash = s.mirror
			}
			s.visit(&j, f, h, path, hash, start, end)
		}
		if start == 0 {
			break
		}
		end = start - 1
	}
	j.named(s.words, name, path)
	f.Categories = j.cats
}

// visit joins what the entry for the suffix that begins at start says; its first
// label ends at end.
func (s *Store) visit(j *join, f *policy.Facts, h policy.Host, path string, hash uint64, start, end int) {
	n := s.index.find(hash)
	if n == 0 {
		return
	}
	if !s.confirmHost(h, start, hash) {
		return
	}
	c, name := s.class(n), h.String()
	alias := slices.Contains(aliases, name[start:end])
	if start == 0 {
		j.add(c.self, alias)
	} else {
		j.add(c.below, alias)
	}
	if !c.paths {
		return
	}
	if sameSite(name, start) {
		f.Paths = true
	}
	if path != "" {
		s.visitPaths(j, h, path, hash, start)
	}
}

// sameSite reports whether the suffix that begins at start is the host itself,
// with or without www. Pages listed under x.example make x.example and
// www.x.example worth inspecting, not every host below.
func sameSite(name string, start int) bool { return start == 0 || name[:start] == "www." }

// visitPaths joins the URL entries of a suffix, the shortest path first.
func (s *Store) visitPaths(j *join, h policy.Host, path string, hostHash uint64, start int) {
	breaks, query := 0, false
	for i := 1; i <= min(len(path), s.header.Longest) && breaks <= s.header.Breaks; i++ {
		if !boundary(path, i, query) {
			continue
		}
		breaks++
		query = query || i < len(path) && path[i] == '?'
		hash := s.index.seed.path(hostHash, path[:i])
		n := s.index.find(hash)
		if n == 0 || !s.confirm(h, start, path[:i], hash) {
			continue
		}
		if c := s.class(n); start == 0 {
			j.addPage(c.self)
		} else {
			j.addPage(c.below)
		}
	}
}

func (s *Store) class(n uint16) *class {
	if int(n) >= len(s.classes) {
		panic(errCorrupt("hot index"))
	}
	return &s.classes[n]
}

// confirmHost reports whether the suffix is a name of the store. Names confirmed
// before are known by a second hash, of another secret.
func (s *Store) confirmHost(h policy.Host, start int, hash uint64) bool {
	seen := maphash.String(s.cacheSeed, h.String()[start:]) | 1
	slot := &s.confirmed[hash%confirmedSlots]
	if slot.Load() == seen {
		return true
	}
	if !s.confirm(h, start, "", hash) {
		return false
	}
	slot.Store(seen)
	return true
}

// confirm looks a full name up in the file.
func (s *Store) confirm(h policy.Host, start int, path string, hash uint64) bool {
	r := s.file.readers[hash%uint64(len(s.file.readers))]
	r.mu.Lock()
	defer r.mu.Unlock() // also if the file faults
	_, ok, err := r.find(h, start, path)
	if err != nil {
		panic(err)
	}
	s.metrics.confirm(ok)
	return ok
}

// find gives the evidence of a suffix of a host, or of a URL entry under it.
func (r *reader) find(h policy.Host, start int, path string) (evidence uint32, ok bool, err error) {
	key := appendSuffixKey(r.buf[:0], h, start)
	cursor := r.names
	if path != "" {
		key = append(append(key, pathMark...), path...)
		cursor = r.urls
	}
	_, block := cursor.Seek(key)
	if block == nil {
		return 0, false, nil
	}
	return findInBlock(block, key)
}

// mandatory asks the mandatory lists, which nothing else is joined with.
func (s *Store) mandatory(h policy.Host, path string, f *policy.Facts) {
	var buf [maxKey]byte
	name := appendFolded(buf[:0], h)
	_, address := h.Addr()
	for start := 0; ; {
		if s.secret.has(name[start:]) {
			s.mandatoryHost(string(name), start, path, f)
		}
		next := bytes.IndexByte(name[start:], '.')
		if address || next < 0 {
			return
		}
		start += next + 1
	}
}

func (s *Store) mandatoryHost(name string, start int, path string, f *policy.Facts) {
	host := s.secretHost(name[start:])
	f.Mandatory = gravest(f.Mandatory, host.domain)
	if host.pages == policy.Uncategorised {
		return
	}
	if sameSite(name, start) {
		f.Paths = true
		if path == "" {
			f.MandatoryPaths = gravest(f.MandatoryPaths, host.pages)
		}
	}
	if path != "" {
		f.Mandatory = gravest(f.Mandatory, s.mandatoryPage(name[start:], path))
	}
}

// secretHost is what is kept behind the keyed hash of a host.
func (s *Store) secretHost(name string) (host secretHost) {
	if v := s.secretValue(bucketHosts, keyed(s.key, kindHost, name, "")); len(v) == 2 {
		host = secretHost{policy.Category(v[0]), policy.Category(v[1])}
	}
	return host
}

func (s *Store) secretValue(bucket, id []byte) []byte {
	r := s.file.readers[0]
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.tx.Bucket(bucket).Get(id)
}
