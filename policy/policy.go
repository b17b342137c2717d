package policy

import (
	"net/netip"
	"time"
)

// CategoryRule gives a verdict on a category, always or during one period.
type CategoryRule struct {
	Category Category
	Verdict  Verdict
	During   string // name of a period; "" for always
	Rule     Pos
}

// Except names a category that outranks others within a profile: a site that is
// sex education and on a pornography list is sex education.
type Except struct {
	Category Category
	Over     CategorySet
	Rule     Pos
}

// Profile is the settings a group shares.
type Profile struct {
	Name  string
	Title string
	Band  AgeBand
	Rule  Pos

	ApprovedOnly bool     // only what an approved list holds
	Approved     []string // names of lists in Spec.Lists, open to the profile whatever their category
	Categories   []CategoryRule
	Excepts      []Except
	// Uncategorised is the verdict on a host that no list holds.
	Uncategorised     Verdict
	UncategorisedRule Pos
	// Unsettled is the verdict on a host with path-level entries on a mandatory
	// list where the path cannot be seen (I3): Block is logged as an over-block,
	// Allow as a gap.
	Unsettled Verdict

	Inspect              CategorySet // what is looked into, where the HTTPS door can
	InspectUncategorised bool        // so are hosts that no list holds
	InspectAll           bool        // everything is, private hosts apart

	Watch []string // the themes that searches are listened to for, of Themes

	// Scan is the score at which a page that is read is closed, 0 to read none; a
	// lower one is stricter.
	Scan     int
	ScanRule Pos

	SignIn SignIn // whether people may or must say who they are

	SafeSearch Restriction // forced on search engines
	YouTube    Restriction // Restricted Mode

	approved *HostSet
	tables   []table              // by period; the last is for no period
	severity [NumCategories]uint8 // of what is refused
	watched  [NumCategories]uint8 // of what is allowed (M11)
}

// Inspects reports whether hosts of these categories are to be looked into for
// the profile; for none where there is no profile.
func (p *Profile) Inspects(cats CategorySet) bool {
	return p != nil && (p.InspectAll || p.InspectUncategorised && cats.Empty() || !cats.Intersect(p.Inspect).Empty())
}

// Restriction is how tightly a service's own safety mode is forced.
type Restriction uint8

// The restrictions; the zero value is the strictest.
const (
	Strict Restriction = iota
	Moderate
	Off
)

// table is a profile's category rules compiled for one period.
type table struct {
	block, warn, allow CategorySet
	rules              [NumCategories]Pos
	excepts            []Except
}

// Group is a set of clients that share a profile. Who is in it, package clients
// knows.
type Group struct {
	Name    string
	Profile string
	Rule    Pos
}

// Exception is the school's own word on a host.
type Exception struct {
	HostRule
	// For whom: exactly one of these is set, or none for everyone.
	Address netip.Addr
	Device  string
	Group   string
	Profile string
}

// AlertRule says which decisions a person must hear of.
type AlertRule struct {
	Categories CategorySet
	Bands      [5]bool // by AgeBand
	Severity   uint8   // 1 to 5
	Allowed    bool    // of sites that were allowed too (M11)
	Rule       Pos
}

// NeverBlock is a host that only a mandatory list outranks.
type NeverBlock struct {
	HostRule
	HelpLine bool // nothing of the person who used it is recorded (F10)
}

// SafeHost says which host serves a service in its safety mode (REQUIREMENTS
// 4.1, 4.2): the doors resolve and dial that one, and leave the TLS name alone.
type SafeHost struct {
	Host             Host // this very name, nothing below it
	Strict, Moderate Host // Moderate is Strict where the service has one mode
	YouTube          bool // follows Profile.YouTube and not Profile.SafeSearch
}

// Spec is what a policy is compiled from: the policy file, read.
type Spec struct {
	Version    string // names this revision in every event
	Profiles   []Profile
	Groups     []Group
	Timetable  Timetable
	Lists      map[string][]HostRule // approved and lesson lists by name
	Exceptions []Exception
	Passes     []Exception // live passes: always with an end
	NeverBlock []NeverBlock
	SafeHosts  []SafeHost
	Alerts     []AlertRule
}

// scoped is rules by whom they are for.
type scoped struct {
	address  map[netip.Addr]*HostSet
	device   map[string]*HostSet
	group    map[string]*HostSet
	profile  map[string]*HostSet
	everyone *HostSet
}

// Policy is the school's decision, compiled and immutable.
type Policy struct {
	Version   string
	Timetable Timetable

	profiles   map[string]*Profile
	order      []*Profile
	groups     map[string]*Profile
	strictest  *Profile
	helpLines  *HostSet
	essentials *HostSet
	exceptions scoped
	passes     scoped
	safe       map[Host]SafeHost
	written    map[string]written // by host name
}

// Profiles lists the profiles in the order they were written.
func (p *Policy) Profiles() []*Profile { return p.order }

// Strictest is the profile of an unknown client.
func (p *Policy) Strictest() *Profile { return p.strictest }

// Profile is the profile of that name, nil if there is none.
func (p *Policy) Profile(name string) *Profile { return p.profiles[name] }

// ProfileOf is the profile of a group, the strictest pupil profile for a group
// that is unknown.
func (p *Policy) ProfileOf(group string) *Profile {
	_, profile := p.place(group)
	return profile
}

// HelpLine reports whether the host is a help-line, whose users leave no record.
func (p *Policy) HelpLine(h Host, at time.Time) bool { return p.helpLines.Find(h, "", at) != nil }

// NeverBlocks reports whether a host or page is in the never-block set, so that
// nothing the school writes closes it.
func (p *Policy) NeverBlocks(h Host, path string, at time.Time) bool {
	return p.neverBlock(&question{Request: Request{Host: h, Path: path, Time: at}}, &Decision{})
}

func (p *Policy) place(group string) (string, *Profile) {
	if profile := p.groups[group]; profile != nil {
		return group, profile
	}
	return "", p.strictest
}
