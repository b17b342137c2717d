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

	Quarantined bool // cut off while an incident is open (R29)
	Unsigned    bool // no signed acceptable-use policy on record (R64)
}
