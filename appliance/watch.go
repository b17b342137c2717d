package appliance

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"schoolgate/policy"
	"schoolgate/proxy"
	"schoolgate/redaction"
	"schoolgate/terms"
)

// watch hears searches for the web door. Its phrases take longer to compile than all
// else takes to start, so they come behind the doors, and what needs them waits.
type watch struct {
	lists  func() policy.Classifier  // in force; nil before there are any
	set    atomic.Pointer[terms.Set] // nil until compiled
	ready  chan struct{}             // closed once it is
	raised *prometheus.CounterVec    // by theme; of nobody

	trouble atomic.Pointer[error] // why the school's own packs are not all in force
}

func newWatch(reg prometheus.Registerer, lists func() policy.Classifier) *watch {
	w := &watch{lists: lists, ready: make(chan struct{}), raised: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "schoolgate_searches_raised_total", Help: "Searches in which a watched phrase spoke, by theme; searches for help are added when their day is over.",
	}, []string{"theme"})}
	for _, theme := range policy.Themes() {
		w.raised.WithLabelValues(theme)
	}
	reg.MustRegister(w.raised)
	return w
}

// begin puts the first phrases in force; err is why they are not all the school's.
func (w *watch) begin(set *terms.Set, err error) {
	w.trouble.Store(&err)
	w.set.Store(set)
	close(w.ready)
}

// phrases is what is listened for. It waits for the first to be compiled: a search in
// the first moment is heard like any other.
func (w *watch) phrases() *terms.Set {
	if set := w.set.Load(); set != nil {
		return set
	}
	<-w.ready
	return w.set.Load()
}

// take puts other phrases in force, once the first were.
func (w *watch) take(set *terms.Set) {
	w.set.Store(set)
	w.trouble.Store(new(error))
}

// Posts reports whether what is sent to an address may hold a search.
func (*watch) Posts(h policy.Host, path string) bool { return terms.Posts(h, path) }

// Search is what a request searched for. Of pupils every search is kept; of adults
// only one that raised a theme that their profile is listened to for; of guests none.
// A search for an address of a mandatory list is a try to reach it, whoever made it.
func (w *watch) Search(q *policy.Request, r *policy.Ruling, body proxy.Body) (s policy.Search) {
	_, words, ok := terms.QueryOf(q.Host, q.Path)
	if _, posted, more := terms.Posted(q.Host, q.Path, body.Type, body.Encoding, body.Start); more {
		if ok {
			posted = words + " " + posted
		}
		words, ok = posted, true
	}
	if !ok {
		return s
	}
	if address, list := redaction.Find(w.lists(), words); list != policy.Uncategorised {
		s.Mandatory, s.Secret = list, policy.NewSecret(address+" (searched for at "+q.Host.String()+")")
		return s
	}
	if hit, said, spoke := terms.Hear(w.phrases(), r.Profile, words); spoke {
		s.Theme = hit.Theme.String()
		if s.Shielded = hit.Theme.Shielded(); s.Shielded {
			return s // and counted by the day
		}
		w.raised.WithLabelValues(s.Theme).Inc()
		s.Term, s.Severity = said, hit.Severity
	}
	if r.Band().Pupil() || s.Severity > 0 {
		s.Words = terms.Clip(words)
	}
	return s
}

// watchCheck tells where the school's own phrases are not in force.
func (a *Appliance) watchCheck() []Check {
	<-a.watch.ready
	if err := a.watch.trouble.Load(); err != nil && *err != nil {
		return []Check{{Name: "terms", Say: "searches are listened to by the last phrases that were agreed", Err: *err}}
	}
	return nil
}
