package main

import (
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"schoolgate/internal/testkit"
)

// The box with dnssec: validate, as a process: what a device sees with dig, and what
// whoever watches the box sees.
func TestValidatesDNSSEC(t *testing.T) {
	i := testkit.NewInternet(t,
		&testkit.Zone{Name: ".", Algorithm: dns.RSASHA256},
		&testkit.Zone{Name: "test", Algorithm: dns.ECDSAP256SHA256, NSEC3: true, OptOut: true},
		&testkit.Zone{Name: "signed.test", Algorithm: dns.ED25519, Records: []string{"www.signed.test. 300 IN A 203.0.113.1", "forged.signed.test. 300 IN A 203.0.113.1"}},
		&testkit.Zone{Name: "plain.test", Records: []string{"www.plain.test. 300 IN A 203.0.113.2"}},
	)
	i.Serve()
	i.Tamper(func(_ dns.Question, m *dns.Msg) {
		for _, rr := range m.Answer {
			if a, ok := rr.(*dns.A); ok && strings.HasPrefix(a.Hdr.Name, "forged.") {
				a.A = net.IPv4(203, 0, 113, 66)
			}
		}
	})
	b := testkit.NewBox(t, testkit.BoxOptions{Upstream: i.Addr, DNS: "dnssec: validate, trust_anchors: root.key"})
	var anchors strings.Builder
	for _, ds := range i.Anchors() {
		anchors.WriteString(ds.String() + "\n")
	}
	b.Write("root.key", anchors.String())
	b.Start()
	for _, tc := range []struct {
		name string
		cd   bool
		want string
	}{
		{"www.signed.test", false, "NOERROR AD 203.0.113.1"},
		{"gone.signed.test", false, "NXDOMAIN AD"},
		{"www.plain.test", false, "NOERROR 203.0.113.2"},
		{"forged.signed.test", false, "SERVFAIL EDE 6"},
		{"forged.signed.test", true, "NOERROR 203.0.113.66"},
		{"forged.signed.test", false, "SERVFAIL EDE 6"},
		{"blocked.example", false, "NOERROR EDE 15 0.0.0.0"},
	} {
		q := new(dns.Msg).SetQuestion(dns.Fqdn(tc.name), dns.TypeA)
		q.SetEdns0(1232, false)
		q.AuthenticatedData, q.CheckingDisabled = true, tc.cd
		if got := dig(testkit.Ask(t, "udp", b.DNS, q)); got != tc.want {
			t.Errorf("dig +adflag +cdflag=%t %s: %s, want %s", tc.cd, tc.name, got, tc.want)
		}
	}
	if _, ready := health(t, b, "/readyz"); !strings.Contains(ready, "ok       dnssec") {
		t.Errorf("/readyz does not say that names can be validated:\n%s", ready)
	}
	_, metrics := health(t, b, "/metrics")
	for _, line := range []string{`schoolgate_dnsfilter_dnssec_total{status="secure"} 2`, `schoolgate_dnsfilter_dnssec_total{status="insecure"} 1`, `schoolgate_dnsfilter_dnssec_total{status="bogus"} 1`} {
		if !slices.Contains(strings.Split(metrics, "\n"), line) {
			t.Errorf("/metrics does not say %s", line)
		}
	}

	b.Stop()
	b.Write("root.key", "example. IN DS 1 8 2 AABB\n")
	if out, trouble, err := b.Try("serve"); err == nil || !strings.Contains(out+trouble, filepath.Join(b.Dir, "root.key")) {
		t.Errorf("serve with another zone's trust anchor: %v\n%s%s\nwant an error that names the file", err, out, trouble)
	}
}

// dig is an answer in one line.
func dig(r *dns.Msg) string {
	if r == nil {
		return "nothing"
	}
	words := []string{dns.RcodeToString[r.Rcode]}
	if r.AuthenticatedData {
		words = append(words, "AD")
	}
	if opt := r.IsEdns0(); opt != nil {
		for _, o := range opt.Option {
			if e, ok := o.(*dns.EDNS0_EDE); ok {
				words = append(words, fmt.Sprint("EDE ", e.InfoCode))
			}
		}
	}
	for _, rr := range r.Answer {
		if a, ok := rr.(*dns.A); ok {
			words = append(words, a.A.String())
		}
	}
	return strings.Join(words, " ")
}
