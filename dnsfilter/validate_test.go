package dnsfilter

import (
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"schoolgate/internal/testkit"
	"schoolgate/policy"
)

// What validation says of an answer, at the door: the filter comes first, AD is for an
// answer that is secure and was not changed, and for a client that asks for it; what is
// bogus is SERVFAIL and says why.
func TestValidateAtTheDoor(t *testing.T) {
	t.Parallel()
	i := testkit.NewInternet(t,
		&testkit.Zone{Name: ".", Algorithm: dns.ECDSAP256SHA256},
		&testkit.Zone{Name: "test", Algorithm: dns.ED25519, Records: []string{
			"open.test. 300 IN A 203.0.113.1", "forged.test. 300 IN A 203.0.113.1", "casino.test. 300 IN A 203.0.113.2",
			"alias.test. 300 IN CNAME casino.test.", "safe.test. 300 IN A 203.0.113.3", "engine.test. 300 IN A 203.0.113.4", "other.test. 300 IN A 203.0.113.4",
			`quic.test. 300 IN HTTPS 1 . alpn="h3,h2"`,
		}},
		&testkit.Zone{Name: "dear.test", Algorithm: dns.ED25519, NSEC3: true, Iterations: 500},
		&testkit.Zone{Name: "plain.test", Records: []string{"www.plain.test. 300 IN A 203.0.113.5"}},
	)
	i.Serve()
	i.Tamper(func(_ dns.Question, m *dns.Msg) {
		for _, rr := range m.Answer {
			if a, ok := rr.(*dns.A); ok && strings.HasPrefix(a.Hdr.Name, "forged.") {
				a.A = net.IPv4(203, 0, 113, 66)
			}
		}
	})
	decide := rules{"": allowed(), "casino.test": blocked(policy.Gambling), "engine.test": safe(t, "safe.test"), "other.test": safe(t, "forged.test")}
	validating := openDoor(t, decide, func(c *Config) {
		c.Upstreams, c.DNSSEC, c.Anchors = []string{i.Addr}, DNSSECValidate, i.Anchors()
	})
	off := openDoor(t, decide, func(c *Config) { c.Upstreams, c.DNSSEC = []string{i.Addr}, DNSSECOff })
	ad := func(m *dns.Msg) { m.AuthenticatedData = true }
	do := func(m *dns.Msg) { m.IsEdns0().SetDo() }
	cd := func(m *dns.Msg) { m.CheckingDisabled = true; do(m) }
	none := func(*dns.Msg) {}
	for _, tc := range []struct {
		promise string
		d       *door
		name    string
		qtype   uint16
		change  func(*dns.Msg)
		want    string
		ad      bool
		ede     []uint16
	}{
		{"the client asks for AD", validating, "open.test", dns.TypeA, ad, "NOERROR | A 203.0.113.1", true, nil},
		{"it knows neither AD nor DO", validating, "open.test", dns.TypeA, none, "NOERROR | A 203.0.113.1", false, nil},
		{"no such name", validating, "gone.test", dns.TypeA, ad, "NXDOMAIN", true, nil},
		{"insecure", validating, "www.plain.test", dns.TypeA, ad, "NOERROR | A 203.0.113.5", false, nil},
		{"too many iterations", validating, "gone.dear.test", dns.TypeA, ad, "NXDOMAIN", false, []uint16{27}},
		{"forged, to a client that checks for itself", validating, "forged.test", dns.TypeA, cd, "NOERROR | A 203.0.113.66", false, nil},
		{"forged", validating, "forged.test", dns.TypeA, ad, "SERVFAIL", false, []uint16{6}},
		{"forged, again", validating, "forged.test", dns.TypeA, none, "SERVFAIL", false, []uint16{6}},
		{"blocked", validating, "casino.test", dns.TypeA, ad, "NOERROR | A 192.0.2.80", false, []uint16{15}},
		{"blocked, to a client that checks for itself", validating, "casino.test", dns.TypeA, cd, "NOERROR | A 192.0.2.80", false, []uint16{15}},
		{"blocked behind an alias", validating, "alias.test", dns.TypeA, ad, "NOERROR | A 192.0.2.80", false, []uint16{15}},
		{"a safe host", validating, "engine.test", dns.TypeA, ad, "NOERROR | CNAME safe.test. | A 203.0.113.3", false, []uint16{4}},
		{"a safe host that is forged", validating, "other.test", dns.TypeA, ad, "SERVFAIL", false, []uint16{6}},
		{"h3 taken out", validating, "quic.test", dns.TypeHTTPS, ad, `NOERROR | HTTPS 1 . alpn="h2"`, false, nil},
		{"off: nothing is checked", off, "forged.test", dns.TypeA, do, "NOERROR | A 203.0.113.66", false, nil},
		{"off: signatures are not passed on", off, "open.test", dns.TypeA, do, "NOERROR | A 203.0.113.1", false, nil},
	} {
		m := question(tc.name, tc.qtype)
		tc.change(m)
		r := tc.d.send(t, m)
		r.Answer = slices.DeleteFunc(r.Answer, func(rr dns.RR) bool {
			return tc.d == validating && rr.Header().Rrtype == dns.TypeRRSIG
		})
		codes, text := edeOf(r)
		if said(r) != tc.want || r.AuthenticatedData != tc.ad || !slices.Equal(codes, tc.ede) || text != "" {
			t.Errorf("%s: %s, AD %t, EDE %v %q, want %s, AD %t, EDE %v", tc.promise, said(r), r.AuthenticatedData, codes, text, tc.want, tc.ad, tc.ede)
		}
	}
	m := question("open.test", dns.TypeA)
	do(m)
	if r := validating.send(t, m); !r.AuthenticatedData || len(r.Answer) != 2 || !r.IsEdns0().Do() {
		t.Errorf("a client that wants signatures got AD %t and %v", r.AuthenticatedData, r.Answer)
	}
}
