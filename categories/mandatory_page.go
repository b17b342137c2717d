package categories

import (
	"bytes"
	"iter"
	pathpkg "path"
	"slices"
	"strings"

	"schoolgate/policy"
)

// Pages of mandatory lists are matched as loosely as a server might read an
// address, since a miss is worse than refusing a page that does not exist: case
// does not count, nor a slash at the end; a listed page without a query is meant
// with any; and one with a query is meant wherever the same parameters are asked
// for, in any order and among any others (4.9). A segment is meant with any
// parameters behind a semicolon, which servers put there and read past. And a page
// is meant with whatever lies below it: many servers answer /page.php/x with
// /page.php.

// paramSize is how much is kept of the keyed hash of a parameter, in bytes.
const paramSize = 8

// pageForm is the form in which a page is hashed, and its query.
func pageForm(path string) (page, query string) {
	page, query, _ = strings.Cut(strings.ToLower(path), "?")
	return page, query
}

// params yields the parameters of a query.
func params(query string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for param := range strings.FieldsFuncSeq(query, func(r rune) bool { return r == '&' || r == ';' }) {
			if !yield(param) {
				return
			}
		}
	}
}

func keyedParam(key []byte, host, page, param string) []byte {
	return keyed(key, kindParam, host, page+"?"+param)[:paramSize]
}

func (b *secretBuilder) addPage(name, path string, c policy.Category) (fresh bool) {
	page, query := pageForm(path)
	bare := strings.TrimRight(page, "/")
	kind := kindPage
	b.depth = max(b.depth, strings.Count(bare, "/"))
	switch {
	case strings.Trim(query, "&;") != "":
		return b.addQuery(name, bare, query, c)
	case page != bare:
		kind = kindTree
	}
	id := string(keyed(b.key, kind, name, bare))
	b.filter[b.sip.hash([]byte(kind+name+bare))] = true
	old := b.pages[id]
	b.pages[id] = gravest(old, c)
	return old == policy.Uncategorised
}

// addQuery appends a list of parameters to those of the page: the category, the
// number of parameters, and of each the keyed hash, in order.
func (b *secretBuilder) addQuery(name, page, query string, c policy.Category) (fresh bool) {
	var hashes [][]byte
	for param := range params(query) {
		hashes = append(hashes, keyedParam(b.key, name, page, param))
	}
	slices.SortFunc(hashes, bytes.Compare)
	hashes = slices.CompactFunc(hashes, bytes.Equal)
	hashes = hashes[:min(len(hashes), 255)] // fewer parameters match more pages
	id := string(keyed(b.key, kindQuery, name, page))
	for known, list := range askedLists(b.asked[id]) {
		if known == c && bytes.Equal(list, bytes.Join(hashes, nil)) {
			return false
		}
	}
	b.filter[b.sip.hash([]byte(kindQuery+name+page))] = true
	b.asked[id] = append(append(b.asked[id], byte(c), byte(len(hashes))), bytes.Join(hashes, nil)...)
	return true
}

// askedLists yields the parameter lists of a page; it ends at one that is cut
// short.
func askedLists(v []byte) iter.Seq2[policy.Category, []byte] {
	return func(yield func(policy.Category, []byte) bool) {
		for len(v) >= 2 {
			end := 2 + int(v[1])*paramSize
			if len(v) < end || !yield(policy.Category(v[0]), v[2:end]) {
				return
			}
			v = v[end:]
		}
	}
}

// mandatoryPage asks for the page as it is written, and as a server reads it that
// passes over what follows a semicolon.
func (s *Store) mandatoryPage(host, path string) (c policy.Category) {
	page, query := pageForm(path)
	c = s.mandatoryForm(host, page, query)
	if plain := withoutParams(page); plain != page {
		c = gravest(c, s.mandatoryForm(host, plain, query))
	}
	return c
}

// withoutParams is a page without what follows a semicolon in each segment, with
// the dots resolved that this may have laid bare.
func withoutParams(page string) string {
	if !strings.Contains(page, ";") {
		return page
	}
	segments := strings.Split(page, "/")
	for i, segment := range segments {
		segments[i], _, _ = strings.Cut(segment, ";")
	}
	return pathpkg.Clean(strings.Join(segments, "/"))
}

// mandatoryForm asks for the page and for each of the pages and trees it lies
// below, with its parameters and without. The root of a site is a page of its own:
// what lies below that is another.
func (s *Store) mandatoryForm(host, page, query string) (c policy.Category) {
	bare := strings.TrimRight(page, "/")
	c = gravest(s.secretPage(kindPage, host, bare), s.secretQuery(host, bare, query)) // a store of before knows no depth of pages
	for depth, i := 0, 0; depth <= s.secret.depth && i <= len(bare); i++ {
		if i < len(bare) && bare[i] != '/' {
			continue
		}
		c = gravest(c, s.secretPage(kindTree, host, bare[:i]))
		if i > 0 && i < len(bare) {
			c = gravest(c, s.secretPage(kindPage, host, bare[:i]))
			c = gravest(c, s.secretQuery(host, bare[:i], query))
		}
		depth++
	}
	return c
}

func (s *Store) secretPage(kind, host, page string) policy.Category {
	if !s.secret.has([]byte(kind + host + page)) {
		return policy.Uncategorised
	}
	if v := s.secretValue(bucketPages, keyed(s.key, kind, host, page)); len(v) == 1 {
		return policy.Category(v[0])
	}
	return policy.Uncategorised
}

// secretQuery is the gravest category of the page's parameter lists that the
// query holds whole.
func (s *Store) secretQuery(host, page, query string) (c policy.Category) {
	if query == "" || !s.secret.has([]byte(kindQuery+host+page)) {
		return policy.Uncategorised
	}
	lists := s.secretValue(bucketPages, keyed(s.key, kindQuery, host, page))
	if len(lists) == 0 {
		return policy.Uncategorised
	}
	asked := map[[paramSize]byte]bool{}
	for param := range params(query) {
		asked[[paramSize]byte(keyedParam(s.key, host, page, param))] = true
	}
	for category, list := range askedLists(lists) {
		if holdsAll(asked, list) {
			c = gravest(c, category)
		}
	}
	return c
}

func holdsAll(asked map[[paramSize]byte]bool, list []byte) bool {
	for param := range slices.Chunk(list, paramSize) {
		if !asked[[paramSize]byte(param)] {
			return false
		}
	}
	return true
}
