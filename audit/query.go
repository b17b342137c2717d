package audit

import (
	"net/netip"
	"strings"
	"time"

	"schoolgate/policy"
)

// Query says which events are asked for; what is left at its zero value does
// not narrow it.
type Query struct {
	From, To time.Time // To is exclusive
	Client   string    // an address, or a range such as 10.2.0.0/16
	Device   string
	Person   string // who signed in; of staff acts, who did it
	Group    string
	Profile  string
	Host     string // this host and everything below it
	Category policy.Category
	Theme    string
	Severity uint8 // at least so grave
	Use      policy.Use
	Verdicts []policy.Verdict // any of them
	Flagged  bool             // only what a person must hear of
	Text     string           // somewhere in host, path, device, person, search, term, rule, finding or act, in any case
	Limit    int              // at most so many events
	Newest   bool             // the newest first

	// Veil takes out of what is found what may not be shown; nil takes nothing.
	Veil func(*policy.Event)

	// Only events between these numbers, neither included; 0 does not narrow. The
	// last number of a page is where the next page goes on.
	After, Before policy.EventID
}

// Matcher tells whether an event is asked for. Limit and order are the caller's.
func (q Query) Matcher() func(*policy.Event) bool {
	f := newFilter(q)
	return f.matches
}

// filter is a query made ready.
type filter struct {
	Query
	from, to int64
	clients  netip.Prefix // valid if Client is a range
}

func newFilter(q Query) filter {
	f := filter{Query: q, from: -1 << 63, to: 1<<63 - 1}
	if !q.From.IsZero() {
		f.from = unixNano(q.From)
	}
	if !q.To.IsZero() {
		f.to = unixNano(q.To)
	}
	f.clients, _ = netip.ParsePrefix(q.Client) // an address is none, and compared as text
	if a, err := netip.ParseAddr(q.Client); err == nil {
		f.Client = a.Unmap().String()
	}
	f.Host = strings.Trim(strings.TrimPrefix(strings.ToLower(q.Host), "*"), ".")
	f.Text = strings.ToLower(q.Text)
	return f
}

// mayHold reports whether a frame (or a whole segment, by its seal) can hold an
// event that is asked for.
func (f *filter) mayHold(h *frameHeader) bool {
	return h.Max >= f.from && h.Min < f.to && (!f.Flagged && f.Severity == 0 || h.Flags&flagFlagged != 0)
}

// spans reports whether one of the numbers first to last is asked for.
func (f *filter) spans(first, last policy.EventID) bool {
	return last > f.After && (f.Before == 0 || first < f.Before)
}

func (f *filter) matches(e *policy.Event) bool {
	t := unixNano(e.Time)
	return t >= f.from && t < f.to && f.spans(e.ID, e.ID) &&
		(!f.Flagged || e.Flagged()) && e.Severity >= f.Severity &&
		(f.Category == policy.Uncategorised || e.Category == f.Category) &&
		(f.Device == "" || e.Device == f.Device) &&
		(f.Person == "" || e.Person == f.Person) &&
		(f.Theme == "" || e.Theme == f.Theme) &&
		(f.Use == policy.UseUnknown || e.Use == f.Use) &&
		(f.Group == "" || e.Group == f.Group) &&
		(f.Profile == "" || e.Profile == f.Profile) &&
		f.verdict(e.Verdict) && f.host(e.Host) && f.client(e.Client) && f.text(e)
}

func (f *filter) verdict(v policy.Verdict) bool {
	for _, want := range f.Verdicts {
		if v == want {
			return true
		}
	}
	return len(f.Verdicts) == 0
}

func (f *filter) host(host string) bool {
	rest, ok := strings.CutSuffix(host, f.Host)
	return ok && (f.Host == "" || rest == "" || strings.HasSuffix(rest, "."))
}

func (f *filter) client(client string) bool {
	if !f.clients.IsValid() {
		return f.Client == "" || client == f.Client
	}
	addr, err := netip.ParseAddr(client)
	return err == nil && f.clients.Contains(addr)
}

func (f *filter) text(e *policy.Event) bool {
	if f.Text == "" {
		return true
	}
	for _, s := range [...]string{e.Host, e.Path, e.Device, e.Rule, e.Finding, e.Person, e.Words, e.Term, e.Act, e.Subject, e.Note} {
		if strings.Contains(strings.ToLower(s), f.Text) {
			return true
		}
	}
	return false
}
