package pagescan

import (
	"bytes"
	"errors"
	"io"
	"iter"
	"slices"

	"schoolgate/internal/phrases"
	"schoolgate/policy"
)

// Bounds on what is read of a page, unpacked.
const (
	MaxPage  = 1 << 20 // what comes later passes unread
	maxRatio = 100     // a page that unpacks further than this is a bomb (T6)...
	ratioAt  = 128 << 10
)

// Page is one page being read. It is fed the bytes of the wire as they pass, in
// any parts, and must be closed. It is not for many at once.
type Page struct {
	set         *Set
	contentType string
	codings     []string

	next func() (struct{}, bool)
	stop func()
	wire []byte // the part being read
	last bool   // no more parts come

	fed, read int // bytes of the wire that were taken, and of the page
	over      bool
	bomb      bool
	err       error // why reading ended early

	head    []byte   // the beginning, until its charset is known
	decoder *decoder // from the page's charset; nil until it is known

	words  words
	lower  []byte
	said   phrases.State // of the words
	marked phrases.State // of the page itself
	found  []phrases.Found
	times  []uint8 // by phrase: how often it was met, up to often
	sums   [policy.NumCategories]sum
}

// Open begins to read a page of that Content-Type in that Content-Encoding, which must
// be passed on as [Encoding] has it.
func (s *Set) Open(contentType, contentEncoding string) *Page {
	list, _ := codings(contentEncoding)
	p := &Page{set: s, contentType: contentType, codings: list, times: make([]uint8, len(s.phrases))}
	if len(list) > maxLayers {
		p.over, p.bomb, p.err = true, true, errBomb
	}
	// Unpackers pull and a page is pushed: the reader is a coroutine that yields
	// whenever it wants more, so that all of a part is read when Feed returns.
	p.next, p.stop = iter.Pull(p.run)
	return p
}

// Feed reads the next part.
func (p *Page) Feed(wire []byte) {
	if p.over || len(wire) == 0 {
		return
	}
	p.wire = wire
	p.resume()
}

// Settle reads what came though nobody knows when more will: a page shorter than what
// a browser looks at for its charset is shown as it comes, too. Its last word may go on
// and is not counted yet.
func (p *Page) Settle() {
	if !p.over && p.decoder == nil && len(p.head) > 0 { // the reader waits and touches nothing
		p.settle()
	}
}

// End reads what is left when no more parts come.
func (p *Page) End() {
	if p.last = true; !p.over {
		p.resume()
	}
}

func (p *Page) resume() {
	if _, more := p.next(); !more {
		p.over = true
	}
}

// Close ends the reading.
func (p *Page) Close() {
	p.over = true
	p.stop()
}

// Over reports whether no more of the page is read, since it is over or too long.
func (p *Page) Over() bool { return p.over }

// Length is how many bytes of the page were read, unpacked.
func (p *Page) Length() int { return p.read }

// Bomb reports whether the page unpacks to more than a page has.
func (p *Page) Bomb() bool { return p.bomb }

// Doubtful reports whether the page unpacks so far that more must be seen of it.
func (p *Page) Doubtful() bool { return !p.over && len(p.codings) > 0 && p.read > maxRatio*p.fed }

// Err is why reading ended before the page did, nil if it did not.
func (p *Page) Err() error { return p.err }

var errStopped = errors.New("reading stopped")

// source is the wire, for the unpackers.
type source struct {
	page  *Page
	yield func(struct{}) bool
}

// Read gives what is there, and yields for more.
func (s source) Read(b []byte) (int, error) {
	for len(s.page.wire) == 0 {
		if s.page.last {
			return 0, io.EOF
		}
		if !s.yield(struct{}{}) {
			return 0, errStopped
		}
	}
	n := copy(b, s.page.wire)
	s.page.wire = s.page.wire[n:]
	s.page.fed += n
	return n, nil
}

// run reads the page to its end, or as far as pages are read.
func (p *Page) run(yield func(struct{}) bool) {
	r, err := unpacked(source{p, yield}, p.codings)
	if err != nil {
		p.ended(err)
		return
	}
	p.tally(p.set.words, &p.said, []byte(" "))
	p.words.spaced = true
	counted := &layer{r: r, left: MaxPage}
	var buf [8 << 10]byte
	for {
		n, err := counted.Read(buf[:])
		p.read = MaxPage - counted.left
		p.unfold(buf[:n], err != nil)
		if len(p.codings) > 0 && p.read > ratioAt && p.read > maxRatio*p.fed {
			err = errBomb
			p.bomb = true
		}
		if err != nil {
			p.ended(err)
			return
		}
	}
}

func (p *Page) ended(err error) {
	p.wire = nil
	p.tally(p.set.words, &p.said, p.words.end())
	switch {
	case err == io.EOF, err == errStopped:
	case errors.Is(err, errBomb) && !p.bomb && p.read >= MaxPage: // only long
	case errors.Is(err, errBomb):
		p.bomb, p.err = true, errBomb
	default:
		p.err = err
	}
}

// unfold reads a part of the page in its charset, which is found first.
func (p *Page) unfold(part []byte, last bool) {
	if p.decoder == nil {
		if p.head = append(p.head, part...); len(p.head) >= sniffed || last {
			p.settle()
		}
	} else {
		p.decoder.feed(part, p.take)
	}
	if last && p.decoder != nil {
		p.decoder.end(p.take)
	}
}

// settle finds the charset in what came so far, and reads that.
func (p *Page) settle() {
	p.decoder = newDecoder(p.head[:min(len(p.head), sniffed)], p.contentType)
	p.decoder.feed(p.head, p.take)
	p.head = nil
}

// take reads a part of the page, in UTF-8.
func (p *Page) take(part []byte) {
	p.tally(p.set.words, &p.said, p.words.feed(part))
	p.lower = append(p.lower[:0], part...)
	for i, c := range p.lower {
		if c >= 'A' && c <= 'Z' {
			p.lower[i] = c | 0x20
		}
	}
	p.tally(p.set.marks, &p.marked, p.lower)
}

// often is how many times one phrase counts: a page is not the worse for saying the
// same a hundred times.
const often = 3

func (p *Page) tally(a *phrases.Automaton, at *phrases.State, text []byte) {
	p.found, *at = a.Next(p.found[:0], *at, text)
	for _, f := range p.found {
		for _, id := range p.set.byPattern(a, f.Pattern) {
			p.count(id)
		}
	}
}

// sum is what was met of one theme.
type sum struct {
	against int // weights of what speaks against the page
	excused int // weights of what speaks for it
	sure    int // of those against, the marks that only such a page bears
	kinds   int // how many different phrases speak against it
}

const (
	// enough is how many phrases of a theme must be met: no single one closes a
	// page, unless it is a mark that only such a page bears...
	enough = 3
	// ...which is one of this weight.
	sure = 100
	// maxExcuse is how much can be excused: who hides good words in a bad page gains
	// no more by it.
	maxExcuse = 200
)

func (s *sum) score() int { return max(s.sure, s.against-min(s.excused, maxExcuse), 0) }

func (s *sum) grounded() bool { return s.kinds >= enough || s.sure > 0 }

// count adds a phrase: whole the first time, half the second and third.
func (p *Page) count(id int32) {
	if p.times[id] == often {
		return
	}
	ph := &p.set.phrases[id]
	s, w := &p.sums[ph.theme], ph.weight
	if p.times[id] > 0 {
		w /= 2
	} else if w > 0 {
		s.kinds++
	}
	p.times[id]++
	switch {
	case w < 0:
		s.excused -= w
	case ph.weight >= sure:
		s.sure += w
		fallthrough
	default:
		s.against += w
	}
}

// Found is what a page was found to be about, and how surely.
type Found struct {
	Theme policy.Category
	Score int
}

// About is the theme with the highest score of those in which that reach limit; ok
// is false for none.
func (p *Page) About(limit int, which policy.CategorySet) (f Found, ok bool) {
	for _, theme := range p.set.themes {
		s := &p.sums[theme]
		if n := s.score(); which.Has(theme) && s.grounded() && n >= limit && n > f.Score {
			f, ok = Found{theme, n}, true
		}
	}
	return f, ok
}

// Scores are the scores of all themes, highest first, with the phrases met.
func (p *Page) Scores() []Score {
	var list []Score
	for _, theme := range p.set.themes {
		s := Score{Found: Found{theme, p.sums[theme].score()}, Grounded: p.sums[theme].grounded()}
		for _, ph := range p.set.phrases {
			if ph.theme == theme && p.times[ph.id] > 0 {
				s.Met = append(s.Met, Met{ph.text, ph.weight, int(p.times[ph.id])})
			}
		}
		list = append(list, s)
	}
	slices.SortStableFunc(list, func(a, b Score) int { return b.Score - a.Score })
	return list
}

// Score is one theme's, with what made it.
type Score struct {
	Found
	Grounded bool // enough different phrases were met to go by
	Met      []Met
}

// Met is a phrase that was met.
type Met struct {
	Phrase string
	Weight int
	Times  int // up to three are counted
}

// Read scans a whole page at once: for tests, and for a person who asks.
func (s *Set) Read(page []byte, contentType, contentEncoding string) *Page {
	p := s.Open(contentType, contentEncoding)
	defer p.Close()
	r := bytes.NewReader(page)
	buf := make([]byte, 16<<10)
	for {
		n, err := r.Read(buf)
		p.Feed(buf[:n])
		if err != nil {
			break
		}
	}
	p.End()
	return p
}
