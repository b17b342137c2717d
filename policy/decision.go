package policy

import (
	"fmt"
	"strconv"
)

// Verdict is what the client gets. A Decision nobody filled in refuses.
type Verdict uint8

// The verdicts, from the strictest.
const (
	Block Verdict = iota // refused; the client sees the block page
	Warn                 // a page that warns, from which a grown-up or a child in KS2 may go on
	Allow                // served
)

var verdictNames = [...]string{Block: "block", Warn: "warn", Allow: "allow"}

func (v Verdict) String() string {
	if int(v) < len(verdictNames) {
		return verdictNames[v]
	}
	return "block"
}

// ParseVerdict reads a verdict's name; ok is false for a word that is none.
func ParseVerdict(s string) (v Verdict, ok bool) {
	for i, name := range verdictNames {
		if name == s {
			return Verdict(i), true
		}
	}
	return Block, false
}

// MarshalText and UnmarshalText make verdicts readable in records.
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (v *Verdict) UnmarshalText(b []byte) error {
	got, ok := ParseVerdict(string(b))
	if !ok {
		return fmt.Errorf("bad verdict %q", b)
	}
	*v = got
	return nil
}

// Reason is the step of the decision order that spoke.
type Reason uint8

// The reasons, in decision order; the zero value is a filter that cannot
// decide, which refuses.
const (
	ReasonNotReady      Reason = iota // no policy or no category store: fail closed
	ReasonBadHost                     // the name cannot be read the same way twice
	ReasonMandatory                   // on a list nothing overrides
	ReasonNeverBlock                  // help-line, captive-portal check, update host
	ReasonQuarantine                  // the device is cut off
	ReasonUnsigned                    // no signed acceptable-use policy
	ReasonSignIn                      // nobody has signed in, and somebody must
	ReasonEmergency                   // closed at once for everyone, while an incident is looked into
	ReasonPass                        // a live pass
	ReasonException                   // the school's own exception
	ReasonApproved                    // on an approved list
	ReasonNotApproved                 // approved-only profile, and on no approved list
	ReasonCategory                    // a category rule
	ReasonExcept                      // a category that outranks the blocked one
	ReasonUncategorised               // on no list; the profile's default
	ReasonDefault                     // categorised, but no rule of the profile speaks of it
	ReasonDestination                 // the address behind the name may not be reached
	ReasonProtocol                    // port, method or protocol that is not carried
	ReasonContent                     // the page itself, read as it passed
	ReasonWarned                      // somebody read the warning and went on
)

var reasonNames = [...]string{
	ReasonNotReady: "not_ready", ReasonBadHost: "bad_host", ReasonMandatory: "mandatory",
	ReasonNeverBlock: "never_block", ReasonQuarantine: "quarantine", ReasonUnsigned: "unsigned", ReasonSignIn: "sign_in",
	ReasonEmergency: "emergency", ReasonPass: "pass", ReasonException: "exception", ReasonApproved: "approved",
	ReasonNotApproved: "not_approved", ReasonCategory: "category", ReasonExcept: "except",
	ReasonUncategorised: "uncategorised", ReasonDefault: "default",
	ReasonDestination: "destination", ReasonProtocol: "protocol",
	ReasonContent: "content", ReasonWarned: "warned",
}

func (r Reason) String() string {
	if int(r) < len(reasonNames) {
		return reasonNames[r]
	}
	return "not_ready"
}

// MarshalText and UnmarshalText make reasons readable in records.
func (r Reason) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (r *Reason) UnmarshalText(b []byte) error {
	for i, name := range reasonNames {
		if name == string(b) {
			*r = Reason(i)
			return nil
		}
	}
	return fmt.Errorf("bad reason %q", b)
}

// Pos is where a rule is written.
type Pos struct {
	File   string
	Line   int
	Column int // 0 where only the line is known
}

// IsZero reports whether the position names no place.
func (p Pos) IsZero() bool { return p.File == "" && p.Line == 0 }

// String is file:line, the way a decision names its rule; "" for no place.
func (p Pos) String() string {
	if p.IsZero() {
		return ""
	}
	return p.File + ":" + strconv.Itoa(p.Line)
}

// Exact is file:line:column, the way a configuration error names its place.
func (p Pos) Exact() string {
	if p.Column == 0 {
		return p.String()
	}
	return p.String() + ":" + strconv.Itoa(p.Column)
}

// Problem is one thing wrong with a configuration, with its place.
type Problem struct {
	Pos  Pos
	Text string // subject, trouble and a way out
}

func (p Problem) Error() string {
	if p.Pos.IsZero() {
		return p.Text
	}
	return p.Pos.Exact() + ": " + p.Text
}

// Decision answers one [Request] and can explain itself.
type Decision struct {
	Verdict  Verdict
	Reason   Reason   // the step that decided
	Category Category // the category that decided, if one did
	Rule     Pos      // where that rule is written, e.g. policy.yaml:41
	Severity uint8    // 1 to 5: how fast the DSL must know; 0 raises no alert

	Profile  *Profile // the settings it was decided under; nil if none could be found
	Note     string   // the school's own reason, from an exception or pass
	Safe     Host     // reach this host instead: its safety mode; zero for none
	Inspect  bool     // the host has path-level entries or rules and the path was not seen: only the URL settles it
	Shielded bool     // a help-line: nothing of the person who asked is recorded (F10)
	// Scan is what the page is still to be read for, where the door can: categories
	// that the profile blocks, of a page that nobody vouched for (S4).
	Scan CategorySet
}

// Overblock reports whether a host is refused only because some of its pages are
// on a mandatory list and the page asked for could not be seen (I3).
func (d Decision) Overblock() bool { return d.Reason == ReasonMandatory && d.Inspect }

// Unsettled reports whether a host is refused only because of some of its pages,
// on a mandatory list or in a rule of the school's, and the page asked for could
// not be seen: a door that sees it decides anew.
func (d Decision) Unsettled() bool { return d.Verdict != Allow && d.Inspect }

// Band is the age band the decision was taken for.
func (d Decision) Band() AgeBand {
	if d.Profile == nil {
		return EYFS
	}
	return d.Profile.Band
}

// ProfileName is the name of the profile decided under, "" if there was none.
func (d Decision) ProfileName() string {
	if d.Profile == nil {
		return ""
	}
	return d.Profile.Name
}

// Listed is the ruling on a search for what is on a mandatory list: that on asking
// for it.
func (r Ruling) Listed(list Category) Ruling {
	r.Decision = Decision{Verdict: Block, Reason: ReasonMandatory, Category: list, Severity: mandatorySeverity, Profile: r.Profile}
	return r
}

// Found is the ruling on a page that was let through and read, and turned out to be
// about what the profile blocks.
func (r Ruling) Found(theme Category) Ruling {
	r.Verdict, r.Reason, r.Category, r.Rule, r.Note, r.Safe = Block, ReasonContent, theme, Pos{}, "", Host{}
	r.Scan = CategorySet{}
	if r.Profile != nil {
		r.Rule, r.Severity = r.Profile.ScanRule, max(r.Severity, r.Profile.severity[theme])
	}
	return r
}
