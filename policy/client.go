package policy

import "net/netip"

// AgeBand is the school years a profile is meant for. The zero value is the
// youngest, so that a client nobody placed is treated most strictly.
type AgeBand uint8

// The age bands of an English primary school, and the two adult ones.
const (
	EYFS  AgeBand = iota // nursery and reception, ages 3 to 5
	KS1                  // Years 1 and 2, ages 5 to 7
	KS2                  // Years 3 to 6, ages 7 to 11
	Staff                // adults employed by the school
	Guest                // visitors and their devices
)

var bandNames = [...]string{EYFS: "eyfs", KS1: "ks1", KS2: "ks2", Staff: "staff", Guest: "guest"}

// String is the band's name as configuration files write it.
func (b AgeBand) String() string {
	if int(b) < len(bandNames) {
		return bandNames[b]
	}
	return "unknown"
}

// ParseAgeBand reads a band's name; ok is false for a name that is none.
func ParseAgeBand(s string) (b AgeBand, ok bool) {
	for i, name := range bandNames {
		if name == s {
			return AgeBand(i), true
		}
	}
	return EYFS, false
}

// Pupil reports whether the band is for children. Anything unknown is.
func (b AgeBand) Pupil() bool { return b != Staff && b != Guest }

// Client is a device or login behind a request. The zero value is an unknown
// client, which gets the strictest pupil profile.
type Client struct {
	Addr   netip.Addr // unmapped: an IPv4 client is never written ::ffff:a.b.c.d
	Device string     // name in the device register, "" if it is not in it
	Group  string     // name of a group in the policy, "" if unknown
	Person string     // who signed in at the proxy, where the profile lets people; "" for nobody

	Quarantined bool // cut off while an incident is open (R29)
	Unsigned    bool // no signed acceptable-use policy on record (R64)
}

// Login is a person who proved at a door who they are, and the group of that person.
// A door that has not checked it gives none.
type Login struct {
	Person, Group string
}

// SignIn says whether people sign in at the proxy on devices of a profile, and get
// the profile of their own group by it.
type SignIn uint8

// The ways; in the zero one a login changes nothing.
const (
	NoSignIn       SignIn = iota
	SignInAllowed         // who signs in gets their own profile, who does not the device's
	SignInRequired        // the web opens to nobody else
)
