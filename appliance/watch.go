package appliance

import (
	"errors"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"schoolgate/policy"
	"schoolgate/proxy"
	"schoolgate/terms"
)

// watch hears searches for the web door.
type watch struct {
	set    atomic.Pointer[terms.Set]
	raised *prometheus.CounterVec // by theme; of nobody
}

func newWatch(set *terms.Set, reg prometheus.Registerer) *watch {
	w := &watch{raised: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "schoolgate_searches_raised_total", Help: "Searches in which a watched phrase spoke, by theme.",
	}, []string{"theme"})}
	for _, theme := range policy.Themes() {
		w.raised.WithLabelValues(theme)
	}
	reg.MustRegister(w.raised)
	w.set.Store(set)
	return w
}

// Posts reports whether what is sent to an address may hold a search.
func (*watch) Posts(h policy.Host, path string) bool { return terms.Posts(h, path) }

// Search is what a request searched for. Of pupils every search is kept; of adults
// only one that raised a theme that their profile is listened to for; of guests none.
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
	if hit, said, spoke := w.set.Load().MatchOf(words, r.Band(), watched(r.Profile)); spoke {
		w.raised.WithLabelValues(hit.Theme.String()).Inc()
		s.Theme = hit.Theme.String()
		if s.Shielded = hit.Theme.Shielded(); s.Shielded {
			return s
		}
		s.Term, s.Severity = said, hit.Severity
	}
	if r.Band().Pupil() || s.Severity > 0 {
		s.Words = terms.Clip(words)
	}
	return s
}

// watched is the themes that a profile is listened to for.
func watched(p *policy.Profile) (set terms.ThemeSet) {
	for _, theme := range terms.Themes() {
		if p.Watches(theme.String()) {
			set = set.With(theme)
		}
	}
	return set
}

// openWatch makes the watch of the packs in force.
func (a *Appliance) openWatch() error {
	set, problems := terms.Shipped()
	if len(problems) > 0 {
		errs := make([]error, len(problems))
		for i, p := range problems {
			errs[i] = p
		}
		return errors.Join(errs...)
	}
	a.watch = newWatch(set, a.registry)
	return nil
}
