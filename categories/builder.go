package categories

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"

	"schoolgate/policy"
)

// BuildOptions says how a store is built.
type BuildOptions struct {
	Version uint64
	Key     []byte // 32 bytes; needed once a mandatory entry comes
	Rules   *Rules // nil for DefaultRules
	Words   []Word // what names say by themselves
	Log     *slog.Logger
}

// Entry is one line of one source.
type Entry struct {
	Host policy.Host
	// Path narrows the entry to the pages at and below it; "" is the whole host.
	// On a mandatory list it is the very page, unless it ends in "/".
	Path     string
	Exact    bool // only this very name, nothing below it
	Category policy.Category
}

// Refused is the error of an entry that is not taken. It never holds the entry.
type Refused struct{ Reason string }

func (r Refused) Error() string { return "refused: " + r.Reason }

// Why entries are refused.
const (
	ReasonTLD          = "a whole top-level domain"
	ReasonPublicSuffix = "a public suffix: names under it belong to unrelated people"
	ReasonSharedSuffix = "a suffix that a company shares out to unrelated people"
	ReasonRestricted   = "under a suffix nobody can buy (.sch.uk, .nhs.uk …): a mistake, or one hacked page"
	ReasonMalformed    = "a name no resolver would ask for"
	ReasonLongPath     = "its path is too long"
	ReasonNoCategory   = "it has no category"
	ReasonMandatory    = "its source is mandatory and its category is not"
	ReasonFull         = "the store is full"
)

// maxSources bounds the sources of one store.
const maxSources = 1 << 12

// harmless are categories that accuse nobody: a list of universities may name
// hosts under restricted suffixes.
var harmless = policy.SetOf(policy.EducationalGames, policy.SearchEngines, policy.ChildSearch, policy.SexEducation,
	policy.Health, policy.Education, policy.News, policy.Finance, policy.Government, policy.Charity, policy.Children,
	policy.Reference, policy.Sport, policy.Jobs, policy.Travel, policy.Updates, policy.Infrastructure, policy.HelpLine,
	policy.SchoolServices)

// Builder collects entries of many sources, in any order, and writes a store.
// It may be used by several goroutines.
type Builder struct {
	path, temp string
	db         *bolt.DB
	opt        BuildOptions
	rules      Rules
	began      time.Time

	mu      sync.Mutex
	sources []Source
	stats   []SourceInfo
	hosts   *names
	urls    *names
	sets    *combinations
	secret  *secretBuilder
	breaks  int
	longest int
	key     []byte
	done    bool
}

// Create begins a store that Finish will put at path. Until then it grows in a
// file beside it, locked, so that [Dir] can tell a live build from a dead one.
func Create(path string, o BuildOptions) (*Builder, error) {
	if o.Key != nil && len(o.Key) != KeySize {
		return nil, fmt.Errorf("building %s: key of %d bytes, want %d", path, len(o.Key), KeySize)
	}
	if err := checkWords(o.Words); err != nil {
		return nil, fmt.Errorf("building %s: %w", path, err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("building %s: %w", path, err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+buildingMark+"*")
	if err != nil {
		return nil, fmt.Errorf("building %s: %w", path, err)
	}
	temp := f.Name()
	if err := f.Close(); err != nil {
		return nil, fmt.Errorf("building %s: %w", path, err)
	}
	db, err := bolt.Open(temp, 0o600, &bolt.Options{
		Timeout: time.Second, NoSync: true, NoGrowSync: true, NoFreelistSync: true, FreelistType: bolt.FreelistMapType,
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("building %s: %w", path, err), os.Remove(temp))
	}
	b := &Builder{path: path, temp: temp, db: db, opt: o, rules: DefaultRules(), began: time.Now(),
		hosts: newNames(), urls: newNames(), sets: newCombinations()}
	if o.Rules != nil {
		b.rules = *o.Rules
	}
	if o.Key != nil {
		b.secret = newSecretBuilder(o.Key)
	}
	if b.opt.Log == nil {
		b.opt.Log = slog.New(slog.DiscardHandler)
	}
	return b, nil
}

// Source registers a source; its entries are added under the number returned.
func (b *Builder) Source(s Source) SourceID {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sources = append(b.sources, s)
	b.stats = append(b.stats, SourceInfo{Source: s, Refused: map[string]int{}})
	return SourceID(len(b.sources) - 1)
}

// Add takes one entry. An error of type [Refused] is about the entry alone, and
// the next one may be added; any other ends the build.
func (b *Builder) Add(id SourceID, e Entry) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.done {
		return errors.New("entry added to a build that is over")
	}
	if int(id) >= len(b.sources) || int(id) >= maxSources-1 {
		return fmt.Errorf("entry of source %d: there are %d sources, and at most %d", id, len(b.sources), maxSources-1)
	}
	err := b.add(id, e)
	var refused Refused
	if errors.As(err, &refused) {
		b.stats[id].Refused[refused.Reason]++
	}
	return err
}

func (b *Builder) add(id SourceID, e Entry) error {
	src := &b.sources[id]
	if reason := malformed(e); reason != "" {
		return Refused{reason}
	}
	host := canonical(e.Host, e.Exact)
	switch {
	case e.Category.Mandatory():
		return b.addMandatory(id, host, e)
	case src.Mandatory:
		return Refused{ReasonMandatory}
	case e.Category == policy.Uncategorised && !src.Clean && !src.Curated:
		return Refused{ReasonNoCategory}
	case !src.Curated && !src.Clean && !harmless.Has(e.Category) && isRestricted(host.String()):
		return Refused{ReasonRestricted}
	}
	b.key = appendKey(b.key[:0], host)
	_, folded := cutMirror(host.String())
	if folded {
		b.stats[id].Folded++
	}
	r, err := b.hostRecord(host, e.Category, src.Curated, folded)
	if err != nil {
		return err
	}
	if path := cleanPath(e.Path); path != "" {
		r.paths = true
		if r = b.urlRecord(path); r == nil {
			return Refused{ReasonFull}
		}
	}
	b.note(id, r, newPair(id, e.Category, e.Exact))
	return nil
}

// hostRecord finds or makes the record of the host whose key is b.key. Only a
// new one, or one that a curated source let in, is held to the public suffixes.
func (b *Builder) hostRecord(host policy.Host, c policy.Category, curated, folded bool) (*record, error) {
	r := b.hosts.find(b.key)
	if r != nil && !r.shared {
		return r, nil
	}
	name := host.String()
	if folded {
		name = hostOfKey(b.key)
	}
	trouble := ""
	if b.key[0] != addressMark {
		trouble = suffixTrouble(name, c)
	}
	if trouble != "" && (!curated || trouble != ReasonSharedSuffix && trouble != ReasonRestricted) {
		return nil, Refused{trouble}
	}
	if r == nil {
		if r = b.hosts.add(b.key); r == nil {
			return nil, Refused{ReasonFull}
		}
		r.shared = trouble != "" || isWholeTop(name)
	}
	return r, nil
}

func (b *Builder) urlRecord(path string) *record {
	b.key = append(append(b.key, pathMark...), path...)
	b.longest = max(b.longest, len(path))
	b.breaks = max(b.breaks, 1+strings.Count(path, "/")+strings.Count(path, "?")+strings.Count(path, "&"))
	if r := b.urls.find(b.key); r != nil {
		return r
	}
	return b.urls.add(b.key)
}

func (b *Builder) note(id SourceID, r *record, p pair) {
	next := b.sets.with(r.evidence, p)
	if next == r.evidence {
		b.stats[id].Duplicates++
		return
	}
	r.evidence = next
	b.took(id, p.category())
}

// took counts an entry that was taken.
func (b *Builder) took(id SourceID, c policy.Category) {
	st := &b.stats[id]
	st.Entries++
	if c == policy.Uncategorised {
		return
	}
	if st.Categories == nil {
		st.Categories = map[policy.Category]int{}
	}
	st.Categories[c]++
}

func (b *Builder) addMandatory(id SourceID, host policy.Host, e Entry) error {
	if b.secret == nil {
		return fmt.Errorf("entry of a mandatory list (%s): the build has no key", e.Category)
	}
	path, _, _ := strings.Cut(e.Path, "#")
	if _, ok := host.Addr(); !ok && path == "" {
		if reason := suffixTrouble(string(appendFolded(nil, host)), e.Category); reason != "" {
			return Refused{reason}
		}
	}
	if b.secret.add(host, path, e.Category) {
		b.took(id, e.Category)
	} else {
		b.stats[id].Duplicates++
	}
	return nil
}

func malformed(e Entry) string {
	name := e.Host.String()
	if _, ok := e.Host.Addr(); !ok {
		if name == "" || name[0] == '.' || strings.Contains(name, "..") || strings.ContainsAny(name, "\x00\x01 /") {
			return ReasonMalformed
		}
	}
	switch {
	case e.Category >= policy.NumCategories:
		return ReasonNoCategory
	case len(e.Path) > MaxPath:
		return ReasonLongPath
	case e.Path != "" && e.Path[0] != '/' || strings.ContainsRune(e.Path, '\x00'):
		return ReasonMalformed
	}
	return ""
}

// Abort ends a build and leaves nothing behind. After Finish it does nothing.
func (b *Builder) Abort() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.done {
		return
	}
	b.done = true
	b.drop()
}

func (b *Builder) drop() {
	if err := errors.Join(b.db.Close(), os.Remove(b.temp)); err != nil {
		b.opt.Log.Warn("unfinished category store not removed", "file", b.temp, "err", err)
	}
	b.hosts, b.urls, b.sets, b.secret = nil, nil, nil, nil
}
