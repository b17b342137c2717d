package categories

import (
	"strings"

	"golang.org/x/net/publicsuffix"

	"schoolgate/policy"
)

// Suffixed is lists that know a host of a mandatory list by the name, too, that a
// device asks for next: the host with the school's own suffix behind it, as in
// listed.example.school.local. Whoever asks for that asked for the host, and an event
// may not hold its name (F7).
type Suffixed struct{ policy.Classifier }

// Classify implements [policy.Classifier].
func (s Suffixed) Classify(h policy.Host, path string) policy.Facts {
	f := s.Classifier.Classify(h, path)
	if f.Mandatory != policy.Uncategorised || f.Unreadable {
		return f
	}
	for front := range Fronts(h) {
		if c := s.Classifier.Classify(front, "").Mandatory; c != policy.Uncategorised && isSuffix(h.String(), h.String()[len(front.String())+1:]) {
			f.Mandatory = c
			break
		}
	}
	return f
}

// Fronts yields what is left of a name without its last labels, the longest first:
// a.b.c.d gives a.b.c and a.b.
func Fronts(h policy.Host) func(yield func(policy.Host) bool) {
	return func(yield func(policy.Host) bool) {
		name := h.String()
		if _, is := h.Addr(); is || strings.HasSuffix(name, ".arpa") {
			return
		}
		for end := strings.LastIndexByte(name, '.'); end > 0; end = strings.LastIndexByte(name[:end], '.') {
			if strings.IndexByte(name[:end], '.') < 0 {
				return
			}
			if front, err := policy.ParseHost(name[:end]); err == nil && !yield(front) {
				return
			}
		}
	}
}

// isSuffix reports whether the end of a name may be a suffix that a device put there:
// a domain, or an ending that nobody sells, such as lan. What a registry sells names
// under is none: listed.com.au is another site than listed.com.
func isSuffix(name, end string) bool {
	ending, sold := publicsuffix.PublicSuffix(name)
	return len(end) > len(ending) || end == ending && !sold && strings.IndexByte(end, '.') < 0
}
