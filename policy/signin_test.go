package policy

import (
	"net/netip"
	"testing"
)

// TestLogin: a login counts where the profile of the device lets people sign in, and
// nowhere else; where somebody must, nobody browses without. T20, Y33.
func TestLogin(t *testing.T) {
	host, err := ParseHost("www.example.org")
	if err != nil {
		t.Fatal(err)
	}
	device := netip.MustParseAddr("10.2.0.7")
	for _, c := range []struct {
		promise string
		way     SignIn
		login   *Login
		door    Door
		verdict Verdict
		reason  Reason
		profile string
		person  string
	}{
		{"no login", NoSignIn, nil, DoorHTTP, Allow, ReasonUncategorised, "ks2", ""},
		{"a login that nobody asked for", NoSignIn, &Login{"teacher", "office"}, DoorHTTP, Allow, ReasonUncategorised, "ks2", ""},
		{"may", SignInAllowed, &Login{"teacher", "office"}, DoorCONNECT, Allow, ReasonUncategorised, "staff", "teacher"},
		{"may, of a group that is gone: the strictest", SignInAllowed, &Login{"teacher", "gone"}, DoorCONNECT, Block, ReasonUncategorised, "eyfs", "teacher"},
		{"may, and does not", SignInAllowed, nil, DoorTLS, Allow, ReasonUncategorised, "ks2", ""},
		{"must", SignInRequired, &Login{"teacher", "office"}, DoorInspect, Allow, ReasonUncategorised, "staff", "teacher"},
		{"must, and does not", SignInRequired, nil, DoorHTTP, Block, ReasonSignIn, "ks2", ""},
		{"must, and does not, by the transparent door", SignInRequired, nil, DoorTLS, Block, ReasonSignIn, "ks2", ""},
		{"must: names are answered all the same", SignInRequired, nil, DoorDNS, Allow, ReasonUncategorised, "ks2", ""},
	} {
		p, problems := Compile(Spec{
			Profiles: []Profile{
				{Name: "eyfs", Band: EYFS}, {Name: "ks2", Band: KS2, Uncategorised: Allow, SignIn: c.way}, {Name: "staff", Band: Staff, Uncategorised: Allow},
			},
			Groups: []Group{{Name: "year5", Profile: "ks2"}, {Name: "office", Profile: "staff"}},
		})
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		s := &Snapshot{Policy: p, Lists: lists{}, Clients: register{device: {Group: "year5"}}}
		q := Request{Door: c.door, Client: device, Host: host, Login: c.login, Time: tuesday}
		r := s.Decide(q)
		if r.Verdict != c.verdict || r.Reason != c.reason || r.ProfileName() != c.profile {
			t.Errorf("%s: %s by %s as %s, want %s by %s as %s", c.promise, r.Verdict, r.Reason, r.ProfileName(), c.verdict, c.reason, c.profile)
		}
		if e := r.Event(q); e.Person != c.person {
			t.Errorf("%s: the record names %q, want %q", c.promise, e.Person, c.person)
		}
	}
}

// TestScanOf: S4. A page is read where nobody vouches for it, for what its profile
// blocks, and what was found raises what the category raises.
func TestScanOf(t *testing.T) {
	host, err := ParseHost("www.example.org")
	if err != nil {
		t.Fatal(err)
	}
	p, problems := Compile(Spec{
		Profiles: []Profile{{
			Name: "ks2", Band: KS2, Uncategorised: Allow, Scan: 100, ScanRule: line(9),
			Categories: []CategoryRule{{Category: Pornography, Verdict: Block}, {Category: Gambling, Verdict: Warn}, {Category: News, Verdict: Allow}},
		}},
		Alerts: []AlertRule{{Categories: SetOf(Pornography), Bands: [5]bool{KS2: true}, Severity: 3}},
	})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	for _, c := range []struct {
		promise string
		cats    []Category
		path    string
		want    CategorySet
	}{
		{"on no list", nil, "/", SetOf(Pornography)},
		{"not seen", nil, "", CategorySet{}},
		{"news", []Category{News}, "/", CategorySet{}},
		{"news on a place for anybody", []Category{News, WebHosting}, "/", SetOf(Pornography)},
		{"shops", []Category{Shopping}, "/", SetOf(Pornography)},
	} {
		s := &Snapshot{Policy: p, Lists: lists{"www.example.org": {Categories: SetOf(c.cats...)}}, Clients: register{}}
		r := s.Decide(Request{Door: DoorInspect, Host: host, Path: c.path, Time: tuesday})
		if r.Verdict != Allow || r.Scan != c.want {
			t.Errorf("%s: %s, to be read for %v, want %v", c.promise, r.Verdict, r.Scan.IDs(), c.want.IDs())
		}
		found := r.Found(Pornography)
		if found.Verdict != Block || found.Reason != ReasonContent || found.Severity != 3 || found.Rule != line(9) || !found.Scan.Empty() {
			t.Errorf("%s: found %+v", c.promise, found.Decision)
		}
	}
}
