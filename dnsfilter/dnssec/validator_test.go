package dnssec

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"schoolgate/internal/testkit"
)

var ended = time.Now().Add(-24 * time.Hour)

// internet is signed with every algorithm that is checked, NSEC and NSEC3.
func internet(t testing.TB) *testkit.Internet {
	t.Helper()
	return testkit.NewInternet(t,
		&testkit.Zone{Name: ".", Algorithm: dns.ECDSAP256SHA256},
		&testkit.Zone{Name: "example", Algorithm: dns.RSASHA256, Records: []string{"digest.example. 300 IN DS 1 13 3 aabb", "host.example. 300 IN A 203.0.113.9"}},
		&testkit.Zone{Name: "test", Algorithm: dns.ED25519, NSEC3: true, OptOut: true, Salt: "aabb", Iterations: 5},
		&testkit.Zone{Name: "school.example", Algorithm: dns.ECDSAP256SHA256, Records: []string{
			"www.school.example. 300 IN A 203.0.113.1", "www.school.example. 300 IN A 203.0.113.2", "www.school.example. 30 IN TXT mixed Case",
			"deep.a.b.school.example. 300 IN A 203.0.113.3",
			"*.w.school.example. 300 IN A 203.0.113.4", "www.w.school.example. 300 IN A 203.0.113.5",
			"*.c.school.example. 300 IN CNAME WWW.school.example.",
			"alias.school.example. 300 IN CNAME www.signed.test.", "out.school.example. 300 IN CNAME www.opt.test.",
			"gone.school.example. 300 IN CNAME nobody.signed.test.",
			"d.school.example. 300 IN DNAME signed.test.", "mail.school.example. 300 IN MX 5 WWW.School.example.",
			"school.example. 300 IN HTTPS 1 . alpn=h2 ipv4hint=203.0.113.1",
		}},
		&testkit.Zone{Name: "sub.school.example", Algorithm: dns.RSASHA512, Records: []string{"www.sub.school.example. 300 IN AAAA 2001:db8::1"}},
		&testkit.Zone{Name: "p384.example", Algorithm: dns.ECDSAP384SHA384, Digest: dns.SHA384, Records: []string{"www.p384.example. 300 IN A 203.0.113.1"}},
		&testkit.Zone{Name: "sha1.example", Algorithm: dns.RSASHA1, Records: []string{"www.sha1.example. 300 IN A 203.0.113.1"}},
		&testkit.Zone{Name: "ds1.example", Algorithm: dns.ED25519, Digest: dns.SHA1, Records: []string{"www.ds1.example. 300 IN A 203.0.113.1"}},
		&testkit.Zone{Name: "digest.example", Records: []string{"www.digest.example. 300 IN A 203.0.113.1"}},
		&testkit.Zone{Name: "plain.example", Records: []string{"www.plain.example. 300 IN A 203.0.113.6", "in.plain.example. 300 IN CNAME www.school.example."}},
		&testkit.Zone{Name: "island.example", Algorithm: dns.ED25519, Island: true, Records: []string{"www.island.example. 300 IN A 203.0.113.6"}},
		&testkit.Zone{Name: "under.plain.example", Algorithm: dns.ED25519, Records: []string{"www.under.plain.example. 300 IN A 203.0.113.6"}},
		&testkit.Zone{Name: "old.example", Algorithm: dns.ED25519, From: ended.Add(-time.Hour), Until: ended, Records: []string{"www.old.example. 300 IN A 203.0.113.6"}},
		&testkit.Zone{Name: "early.example", Algorithm: dns.ED25519, From: time.Now().Add(24 * time.Hour), Records: []string{"www.early.example. 300 IN A 203.0.113.6"}},
		&testkit.Zone{Name: "summer.example", Algorithm: dns.ED25519, Until: time.Now().Add(-time.Hour), From: time.Now().Add(-48 * time.Hour), Records: []string{"www.summer.example. 300 IN A 203.0.113.6"}},
		&testkit.Zone{Name: "dear.example", Algorithm: dns.ED25519, NSEC3: true, Iterations: 2500, Records: []string{"www.dear.example. 300 IN A 203.0.113.6", "*.w.dear.example. 300 IN A 203.0.113.6"}},
		&testkit.Zone{Name: "below.dear.example", Records: []string{"www.below.dear.example. 300 IN A 203.0.113.6"}},
		&testkit.Zone{Name: "signed.test", Algorithm: dns.ED25519, NSEC3: true, Salt: "01", Iterations: 1, Records: []string{
			"www.signed.test. 300 IN A 203.0.113.7", "deep.a.b.signed.test. 300 IN A 203.0.113.8", "*.w.signed.test. 300 IN A 203.0.113.9",
		}},
		&testkit.Zone{Name: "opt.test", Records: []string{"www.opt.test. 300 IN A 203.0.113.10"}},
	)
}

func newValidator(t testing.TB, i *testkit.Internet, change func(*Config)) *Validator {
	t.Helper()
	cfg := Config{Anchors: i.Anchors(), Ask: askOf(i)}
	if change != nil {
		change(&cfg)
	}
	v := New(cfg)
	t.Cleanup(v.Close)
	return v
}

// askOf asks twice, as if there were two resolvers.
func askOf(i *testkit.Internet) Ask {
	return func(ctx context.Context, name string, rrtype uint16, accept func(*dns.Msg) error) (err error) {
		for range 2 {
			if err = accept(i.Reply(name, rrtype)); err == nil {
				break
			}
		}
		return err
	}
}

// say is a verdict in one line.
func say(v Verdict, err error) string {
	if err != nil {
		return err.Error()
	}
	text := v.Status.String()
	if v.Code != 0 {
		text += fmt.Sprint(" ", v.Code)
	}
	if v.Fault != nil && v.Fault.Bound {
		text += " bound"
	}
	return text
}

func judge(t testing.TB, v *Validator, i *testkit.Internet, name string, rrtype uint16) string {
	t.Helper()
	return say(v.Judge(t.Context(), i.Reply(name, rrtype), false, NewBudget()))
}

func TestJudge(t *testing.T) {
	t.Parallel()
	i := internet(t)
	v := newValidator(t, i, func(c *Config) { c.Except = []string{"Old.example", "www.early.example"} })
	strict := newValidator(t, i, nil)
	for _, tc := range []struct {
		promise, name string
		rrtype        uint16
		want          string
	}{
		{"an address", "www.school.example", dns.TypeA, "secure"},
		{"text in mixed case", "www.school.example", dns.TypeTXT, "secure"},
		{"a name in the data in mixed case", "mail.school.example", dns.TypeMX, "secure"},
		{"HTTPS", "school.example", dns.TypeHTTPS, "secure"},
		{"in a zone of the same owner", "www.sub.school.example", dns.TypeAAAA, "secure"},
		{"P-384 and SHA-384", "www.p384.example", dns.TypeA, "secure"},
		{"a DS by SHA-1 alone", "www.ds1.example", dns.TypeA, "secure"},
		{"NSEC3", "www.signed.test", dns.TypeA, "secure"},
		{"the root", ".", dns.TypeNS, "secure"},
		{"keys", "school.example", dns.TypeDNSKEY, "secure"},
		{"a DS", "school.example", dns.TypeDS, "secure"},
		{"servers of a zone", "school.example", dns.TypeNS, "secure"},
		{"an hour past its time, as a clock has it that does not know of summer time", "www.summer.example", dns.TypeA, "secure"},

		{"no such type", "www.school.example", dns.TypeMX, "secure"},
		{"no such type, NSEC3", "www.signed.test", dns.TypeMX, "secure"},
		{"an empty non-terminal", "b.school.example", dns.TypeA, "secure"},
		{"an empty non-terminal, NSEC3", "b.signed.test", dns.TypeA, "secure"},
		{"no such name", "nobody.school.example", dns.TypeA, "secure"},
		{"no such name, deep", "x.y.z.nobody.school.example", dns.TypeA, "secure"},
		{"no such name, NSEC3", "nobody.signed.test", dns.TypeA, "secure"},
		{"no such name of a hundred labels, NSEC3", strings.Repeat("x.", 100) + "signed.test", dns.TypeA, "secure"},
		{"no such name in the root", "nobody", dns.TypeA, "secure"},
		{"the last name of a zone", "zzz.school.example", dns.TypeA, "secure"},
		{"no DS, in the zone above", "plain.example", dns.TypeDS, "secure"},
		{"no DS at a name that is no zone", "www.school.example", dns.TypeDS, "secure"},

		{"a wildcard", "any.w.school.example", dns.TypeA, "secure"},
		{"a wildcard, deep", "x.y.any.w.school.example", dns.TypeA, "secure"},
		{"a wildcard, NSEC3", "any.w.signed.test", dns.TypeA, "secure"},
		{"a wildcard without the type", "any.w.school.example", dns.TypeMX, "secure"},
		{"a wildcard without the type, NSEC3", "any.w.signed.test", dns.TypeMX, "secure"},
		{"the wildcard itself", "*.w.school.example", dns.TypeA, "secure"},
		{"a wildcard alias", "any.c.school.example", dns.TypeA, "secure"},

		{"an alias to another zone", "alias.school.example", dns.TypeA, "secure"},
		{"the alias itself", "alias.school.example", dns.TypeCNAME, "secure"},
		{"an alias to nothing", "gone.school.example", dns.TypeA, "secure"},
		{"an alias to nothing of the type", "alias.school.example", dns.TypeMX, "secure"},
		{"a DNAME", "www.d.school.example", dns.TypeA, "secure"},
		{"an alias into an unsigned zone", "out.school.example", dns.TypeA, "insecure"},
		{"an alias out of one", "in.plain.example", dns.TypeA, "insecure"},

		{"an unsigned zone", "www.plain.example", dns.TypeA, "insecure"},
		{"no such name in one", "nobody.plain.example", dns.TypeA, "insecure"},
		{"no such type in one", "www.plain.example", dns.TypeMX, "insecure"},
		{"an unsigned zone that opted out", "www.opt.test", dns.TypeA, "insecure"},
		{"no such name where some opted out", "nobody.test", dns.TypeA, "insecure"},
		{"no DS where it opted out", "opt.test", dns.TypeDS, "insecure"},
		{"signed, and the zone above does not know", "www.island.example", dns.TypeA, "insecure"},
		{"signed below an unsigned zone", "www.under.plain.example", dns.TypeA, "insecure"},
		{"an algorithm that is not good any more", "www.sha1.example", dns.TypeA, "insecure 1"},
		{"a digest nobody knows", "www.digest.example", dns.TypeA, "insecure 2"},
		{"2,500 iterations, where there is something", "www.dear.example", dns.TypeA, "secure"},
		{"and where there is nothing", "nobody.dear.example", dns.TypeA, "insecure 27"},
		{"of that type", "www.dear.example", dns.TypeMX, "insecure 27"},
		{"but a wildcard", "x.w.dear.example", dns.TypeA, "insecure 27"},
		{"and a zone below", "www.below.dear.example", dns.TypeA, "insecure 27"},
		{"a signature by name", "www.school.example", dns.TypeRRSIG, "insecure"},

		{"past its time", "www.old.example", dns.TypeA, "bogus 7"},
		{"from the future", "www.early.example", dns.TypeA, "bogus 8"},
	} {
		for _, state := range []string{"new", "known"} {
			if got := judge(t, strict, i, tc.name, tc.rrtype); got != tc.want {
				t.Errorf("%s, %s: Judge(%s %s) = %s, want %s", tc.promise, state, tc.name, dns.TypeToString[tc.rrtype], got, tc.want)
			}
		}
	}
	for _, name := range []string{"www.old.example", "www.early.example"} {
		if got := judge(t, v, i, name, dns.TypeA); got != "insecure" || !v.Excepted(name) {
			t.Errorf("Judge(%s) = %s, excepted %t, want insecure where an exception says so", name, got, v.Excepted(name))
		}
	}
	if v.Excepted("early.example") || v.Excepted("school.example") {
		t.Error("a name above an exception is excepted")
	}
}

// keep keeps the records that ok allows.
func keep(section []dns.RR, ok func(dns.RR) bool) []dns.RR {
	return slices.DeleteFunc(section, func(rr dns.RR) bool { return !ok(rr) })
}

func noSignature(rr dns.RR) bool { return rr.Header().Rrtype != dns.TypeRRSIG }

func rr(t testing.TB, text string) dns.RR {
	t.Helper()
	r, err := dns.NewRR(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Whatever is done to a reply on its way, what is not as its owner signed it is not
// believed, and never taken for unsigned either.
func TestAttacks(t *testing.T) {
	t.Parallel()
	i := internet(t)
	evil := testkit.NewSigningKey(t, "school.example", dns.ECDSAP256SHA256, 257)
	_, sibling := i.Zone("p384.example").Keys()
	now := time.Now()
	sign := func(k *testkit.SigningKey, set []dns.RR, change func(*dns.RRSIG)) []dns.RR {
		return append(set, k.Sign(t, set, now.Add(-time.Hour), now.Add(time.Hour), change))
	}
	forged := func() []dns.RR { return []dns.RR{rr(t, "www.school.example. 300 IN A 198.51.100.66")} }
	first := func(name string, rrtype uint16) func(dns.Question) bool {
		return func(q dns.Question) bool { return q.Name == dns.Fqdn(name) && q.Qtype == rrtype }
	}
	www := first("www.school.example", dns.TypeA)
	for _, tc := range []struct {
		promise string
		name    string
		rrtype  uint16
		tamper  func(q dns.Question, m *dns.Msg)
		want    string
	}{
		{"another address", "www.school.example", dns.TypeA, func(q dns.Question, m *dns.Msg) {
			if www(q) {
				m.Answer[0].(*dns.A).A = net.IPv4(198, 51, 100, 66)
			}
		}, "bogus 6"},
		{"one address left out", "www.school.example", dns.TypeA, func(q dns.Question, m *dns.Msg) {
			if www(q) {
				m.Answer = m.Answer[1:]
			}
		}, "bogus 6"},
		{"an address put in", "www.school.example", dns.TypeA, func(q dns.Question, m *dns.Msg) {
			if www(q) {
				m.Answer = append(m.Answer, forged()...)
			}
		}, "bogus 6"},
		{"a longer TTL changes nothing", "www.school.example", dns.TypeA, func(q dns.Question, m *dns.Msg) {
			for _, rr := range m.Answer {
				rr.Header().Ttl = 1 << 30
			}
		}, "secure"},
		{"the signature taken off", "www.school.example", dns.TypeA, func(q dns.Question, m *dns.Msg) {
			if www(q) {
				m.Answer = keep(m.Answer, noSignature)
			}
		}, "bogus 10"},
		{"every signature taken off", "www.school.example", dns.TypeA, func(q dns.Question, m *dns.Msg) {
			m.Answer, m.Ns = keep(m.Answer, noSignature), keep(m.Ns, noSignature)
		}, "bogus 10"},
		{"all that is DNSSEC taken off", "www.school.example", dns.TypeA, func(q dns.Question, m *dns.Msg) {
			m.Ns = nil
			if q.Qtype != dns.TypeA {
				m.Answer = nil
			} else {
				m.Answer = keep(m.Answer, noSignature)
			}
		}, "bogus 9"},
		{"the DS taken off, and a forged answer", "www.school.example", dns.TypeA, func(q dns.Question, m *dns.Msg) {
			switch {
			case q.Qtype == dns.TypeDS && q.Name == "school.example.":
				m.Answer = nil
			case www(q):
				m.Answer = forged()
			}
		}, "bogus 12"},
		{"the DS taken off, with the proof that another zone has none", "www.school.example", dns.TypeA, func(q dns.Question, m *dns.Msg) {
			switch {
			case q.Qtype == dns.TypeDS && q.Name == "school.example.":
				m.Answer, m.Ns = nil, replyOf(i, "plain.example", dns.TypeDS).Ns
			case www(q):
				m.Answer = forged()
			}
		}, "bogus 12"},
		{"the DS taken off, with the denial of the zone itself", "www.school.example", dns.TypeA, func(q dns.Question, m *dns.Msg) {
			if q.Qtype == dns.TypeDS && q.Name == "school.example." {
				m.Answer, m.Ns = nil, replyOf(i, "school.example", dns.TypeMX).Ns
			}
		}, "bogus 10"},
		{"the DS taken off where others opted out", "www.signed.test", dns.TypeA, func(q dns.Question, m *dns.Msg) {
			if q.Qtype == dns.TypeDS && q.Name == "signed.test." {
				m.Answer, m.Ns = nil, append(replyOf(i, "opt.test", dns.TypeDS).Ns, replyOf(i, "nobody.test", dns.TypeDS).Ns...)
			}
		}, "bogus 12"},
		{"another DS, with keys to match, not signed", "www.school.example", dns.TypeA, func(q dns.Question, m *dns.Msg) {
			switch {
			case q.Qtype == dns.TypeDS && q.Name == "school.example.":
				for n, rr := range m.Answer {
					if rr.Header().Rrtype == dns.TypeDS {
						m.Answer[n] = evil.ToDS(dns.SHA256)
					}
				}
			case q.Qtype == dns.TypeDNSKEY && q.Name == "school.example.":
				m.Answer = sign(evil, []dns.RR{evil.DNSKEY}, nil)
			case www(q):
				m.Answer = sign(evil, forged(), nil)
			}
		}, "bogus 6"},
		{"another DS, signed by the zone it is for", "www.school.example", dns.TypeA, func(q dns.Question, m *dns.Msg) {
			switch {
			case q.Qtype == dns.TypeDS && q.Name == "school.example.":
				m.Answer = sign(evil, []dns.RR{evil.ToDS(dns.SHA256)}, nil)
			case q.Qtype == dns.TypeDNSKEY && q.Name == "school.example.":
				m.Answer = sign(evil, []dns.RR{evil.DNSKEY}, nil)
			case www(q):
				m.Answer = sign(evil, forged(), nil)
			}
		}, "bogus 10"},
		{"a key put in", "www.school.example", dns.TypeA, func(q dns.Question, m *dns.Msg) {
			switch {
			case q.Qtype == dns.TypeDNSKEY && q.Name == "school.example.":
				m.Answer = append(m.Answer, evil.DNSKEY)
			case www(q):
				m.Answer = sign(evil, forged(), nil)
			}
		}, "bogus 6"},
		{"keys signed by one that nobody vouches for", "www.school.example", dns.TypeA, func(q dns.Question, m *dns.Msg) {
			if q.Qtype == dns.TypeDNSKEY && q.Name == "school.example." {
				m.Answer = sign(evil, append(keep(m.Answer, noSignature), evil.DNSKEY), nil)
			}
		}, "bogus 6"},
		{"other keys alone", "www.school.example", dns.TypeA, func(q dns.Question, m *dns.Msg) {
			if q.Qtype == dns.TypeDNSKEY && q.Name == "school.example." {
				m.Answer = sign(evil, []dns.RR{evil.DNSKEY}, nil)
			}
		}, "bogus 9"},
		{"signed by a neighbour", "www.school.example", dns.TypeA, func(q dns.Question, m *dns.Msg) {
			if www(q) {
				m.Answer = sign(sibling, forged(), nil)
			}
		}, "bogus 10"},
		{"signed by a neighbour under the owner's name", "www.school.example", dns.TypeA, func(q dns.Question, m *dns.Msg) {
			if www(q) {
				m.Answer = sign(sibling, forged(), func(s *dns.RRSIG) { s.SignerName = "school.example." })
			}
		}, "bogus 6"},
		{"signed by a zone that is none", "www.school.example", dns.TypeA, func(q dns.Question, m *dns.Msg) {
			if www(q) {
				m.Answer = sign(evil, forged(), func(s *dns.RRSIG) { s.SignerName = "www.school.example." })
			}
		}, "bogus 6"},
		{"signed by a name that ends alike", "www.school.example", dns.TypeA, func(q dns.Question, m *dns.Msg) {
			if www(q) {
				m.Answer = sign(evil, forged(), func(s *dns.RRSIG) { s.SignerName = "ool.example." })
			}
		}, "bogus 10"},
		{"the algorithm said to be another", "www.school.example", dns.TypeA, func(q dns.Question, m *dns.Msg) {
			if www(q) {
				for _, rr := range m.Answer {
					if sig, ok := rr.(*dns.RRSIG); ok {
						sig.Algorithm = dns.RSASHA1
					}
				}
			}
		}, "bogus 6"},
		{"the algorithm of the DS said to be one nobody knows", "www.school.example", dns.TypeA, func(q dns.Question, m *dns.Msg) {
			for _, rr := range m.Answer {
				if ds, ok := rr.(*dns.DS); ok && ds.Hdr.Name == "school.example." {
					ds.Algorithm = 200
				}
			}
		}, "bogus 6"},
		{"a later end of a signature", "www.old.example", dns.TypeA, func(q dns.Question, m *dns.Msg) {
			for _, rr := range m.Answer {
				if sig, ok := rr.(*dns.RRSIG); ok && sig.SignerName == "old.example." {
					sig.Expiration = uint32(now.Add(time.Hour).Unix())
				}
			}
		}, "bogus 6"},
		{"a signature that ends before it begins", "www.school.example", dns.TypeA, func(q dns.Question, m *dns.Msg) {
			if www(q) {
				_, zsk := i.Zone("school.example").Keys()
				set := keep(m.Answer, noSignature)
				m.Answer = append(set, zsk.Sign(t, set, now.Add(time.Hour), now.Add(-time.Hour), nil))
			}
		}, "bogus 7"},

		{"no such name, without proof", "www.school.example", dns.TypeA, func(q dns.Question, m *dns.Msg) {
			if www(q) {
				m.Answer, m.Ns, m.Rcode = nil, nil, dns.RcodeNameError
			}
		}, "bogus 12"},
		{"no such name, by the proof for another", "www.school.example", dns.TypeA, func(q dns.Question, m *dns.Msg) {
			if www(q) {
				m.Answer, m.Ns, m.Rcode = nil, replyOf(i, "nobody.school.example", dns.TypeA).Ns, dns.RcodeNameError
			}
		}, "bogus 12"},
		{"no such name, by the zone above", "www.school.example", dns.TypeA, func(q dns.Question, m *dns.Msg) {
			if www(q) {
				m.Answer, m.Ns, m.Rcode = nil, signedSet(i, "example", "school.example", dns.TypeNSEC), dns.RcodeNameError
				m.Ns = append(m.Ns, replyOf(i, "0.example", dns.TypeA).Ns...)
			}
		}, "bogus 12"},
		{"no such name, NSEC3, by the proof for another", "www.signed.test", dns.TypeA, func(q dns.Question, m *dns.Msg) {
			if q.Qtype == dns.TypeA {
				m.Answer, m.Ns, m.Rcode = nil, replyOf(i, "nobody.signed.test", dns.TypeA).Ns, dns.RcodeNameError
			}
		}, "bogus 12"},
		{"no such name for no such type", "www.school.example", dns.TypeMX, func(q dns.Question, m *dns.Msg) {
			m.Rcode = dns.RcodeNameError
		}, "bogus 12"},
		{"no such type for no such name", "nobody.school.example", dns.TypeMX, func(q dns.Question, m *dns.Msg) {
			m.Rcode = dns.RcodeSuccess
		}, "bogus 12"},
		{"no such type, of an alias", "alias.school.example", dns.TypeA, func(q dns.Question, m *dns.Msg) {
			if q.Qtype == dns.TypeA {
				m.Answer, m.Ns = nil, signedSet(i, "school.example", "alias.school.example", dns.TypeNSEC)
			}
		}, "bogus 12"},
		{"no such type at the top of a zone, by the zone above", "school.example", dns.TypeHTTPS, func(q dns.Question, m *dns.Msg) {
			if q.Qtype == dns.TypeHTTPS {
				m.Answer, m.Ns = nil, signedSet(i, "example", "school.example", dns.TypeNSEC)
			}
		}, "bogus 12"},
		{"a name, where the wildcard would not be", "www.w.school.example", dns.TypeA, func(q dns.Question, m *dns.Msg) {
			if q.Name == "www.w.school.example." && q.Qtype == dns.TypeA {
				r := replyOf(i, "any.w.school.example", dns.TypeA)
				m.Answer, m.Ns = renamed(r.Answer, q.Name), r.Ns
			}
		}, "bogus 6"},
		{"a name below one that exists, from the wildcard", "x.www.w.school.example", dns.TypeA, func(q dns.Question, m *dns.Msg) {
			if q.Name == "x.www.w.school.example." && q.Qtype == dns.TypeA {
				m.Answer, m.Rcode = renamed(replyOf(i, "any.w.school.example", dns.TypeA).Answer, q.Name), dns.RcodeSuccess
			}
		}, "bogus 6"},
		{"a wildcard without the proof that it applies", "any.w.school.example", dns.TypeA, func(q dns.Question, m *dns.Msg) {
			if q.Qtype == dns.TypeA {
				m.Ns = nil
			}
		}, "bogus 6"},
		{"the same, NSEC3", "any.w.signed.test", dns.TypeA, func(q dns.Question, m *dns.Msg) {
			if q.Qtype == dns.TypeA {
				m.Ns = replyOf(i, "www.signed.test", dns.TypeMX).Ns
			}
		}, "bogus 6"},
		{"a denial made from a wildcard", "www.w.school.example", dns.TypeA, func(q dns.Question, m *dns.Msg) {
			if q.Name == "www.w.school.example." && q.Qtype == dns.TypeA {
				m.Answer, m.Ns = nil, renamed(signedSet(i, "school.example", "*.w.school.example", dns.TypeNSEC), q.Name)
				m.Question[0].Qtype = dns.TypeMX
			}
		}, "bogus 6"},
		{"an alias made up", "www.school.example", dns.TypeA, func(q dns.Question, m *dns.Msg) {
			if www(q) {
				m.Answer = append([]dns.RR{rr(t, "www.school.example. 300 IN CNAME www.plain.example.")}, replyOf(i, "www.plain.example", dns.TypeA).Answer...)
			}
		}, "bogus 10"},
		{"an alias that a DNAME does not make", "www.d.school.example", dns.TypeA, func(q dns.Question, m *dns.Msg) {
			for _, rr := range m.Answer {
				if c, ok := rr.(*dns.CNAME); ok {
					c.Target = "www.plain.example."
				}
			}
		}, "bogus 10"},
		{"a loop of aliases", "www.plain.example", dns.TypeA, func(q dns.Question, m *dns.Msg) {
			if q.Qtype == dns.TypeA {
				m.Answer = []dns.RR{rr(t, "www.plain.example. 300 IN CNAME a.plain.example."), rr(t, "a.plain.example. 300 IN CNAME www.plain.example.")}
			}
		}, "bogus 6"},
		{"an unsigned zone made up below a signed one", "www.school.example", dns.TypeA, func(q dns.Question, m *dns.Msg) {
			switch {
			case www(q):
				m.Answer = forged()
			case q.Qtype == dns.TypeDS && q.Name == "www.school.example.":
				m.Answer, m.Ns = nil, []dns.RR{&dns.NSEC{
					Hdr:        dns.RR_Header{Name: q.Name, Rrtype: dns.TypeNSEC, Class: dns.ClassINET, Ttl: 60},
					NextDomain: "x.school.example.", TypeBitMap: []uint16{dns.TypeNS},
				}}
				m.Ns = sign(evil, m.Ns, func(s *dns.RRSIG) { s.SignerName = "school.example." })
			}
		}, "bogus 6"},
		{"garbage in the authority section", "www.school.example", dns.TypeA, func(q dns.Question, m *dns.Msg) {
			if www(q) {
				m.Ns = append(m.Ns, rr(t, "school.example. 300 IN NS evil.example."))
			}
		}, "bogus 6"},
	} {
		i.Tamper(nil)
		v := newValidator(t, i, nil)
		i.Tamper(tc.tamper)
		if got := judge(t, v, i, tc.name, tc.rrtype); got != tc.want {
			t.Errorf("%s: Judge(%s) = %s, want %s", tc.promise, tc.name, got, tc.want)
		}
	}
}

// replyOf is the reply to another question, not tampered with.
func replyOf(i *testkit.Internet, name string, rrtype uint16) *dns.Msg { return i.Honest(name, rrtype) }

// signedSet is a set of a zone with its signature.
func signedSet(i *testkit.Internet, zone, owner string, rrtype uint16) []dns.RR {
	return i.Zone(zone).Set(owner, rrtype)
}

func renamed(section []dns.RR, name string) []dns.RR {
	for _, rr := range section {
		rr.Header().Name = name
	}
	return section
}

// What a zone made for it can make one question cost is bounded, and at the bound
// nothing is believed.
func TestBounds(t *testing.T) {
	t.Parallel()
	const tag = 4242
	many := &testkit.Zone{Name: "trap.example", Algorithm: dns.ED25519, Records: []string{"www.trap.example. 300 IN A 203.0.113.1"}}
	for n := range 40 {
		many.Records = append(many.Records, collidingKey(t, "trap.example.", n, tag).String())
	}
	crowd := &testkit.Zone{Name: "crowd.example", Algorithm: dns.ED25519, Records: []string{"www.crowd.example. 300 IN A 203.0.113.1"}}
	for n := range maxKeys {
		crowd.Records = append(crowd.Records, collidingKey(t, "crowd.example.", n, uint16(1000+n)).String())
	}
	slow := &testkit.Zone{Name: "slow.example", Algorithm: dns.ED25519, NSEC3: true, Iterations: 100}
	i := testkit.NewInternet(t,
		&testkit.Zone{Name: ".", Algorithm: dns.ED25519}, &testkit.Zone{Name: "example", Algorithm: dns.ED25519}, many, crowd, slow,
		&testkit.Zone{Name: "school.example", Algorithm: dns.ED25519, Records: []string{"www.school.example. 300 IN A 203.0.113.1"}},
	)
	_, zsk := i.Zone("trap.example").Keys()
	garbage := func(owner string, tag uint16, n int) *dns.RRSIG {
		set := []dns.RR{rr(t, owner+" 300 IN A 203.0.113.1")}
		sig := zsk.Sign(t, set, time.Now().Add(-time.Hour), time.Now().Add(time.Hour), nil)
		sig.KeyTag, sig.Signature = tag, strings.Repeat(fmt.Sprintf("%02d", n%100)+"AA", 21)+"AA=="
		return sig
	}
	deep := strings.Repeat("a.", 60) + "school.example."
	for _, tc := range []struct {
		promise, name string
		rrtype        uint16
		tamper        func(q dns.Question, m *dns.Msg)
		want          string
		checks        int // at most
	}{
		{"forty keys with one tag, fifty signatures", "www.trap.example", dns.TypeA, func(q dns.Question, m *dns.Msg) {
			if q.Qtype == dns.TypeA {
				m.Answer = m.Answer[:1]
				for n := range 50 {
					m.Answer = append(m.Answer, garbage("www.trap.example.", tag, n))
				}
			}
		}, "bogus 5 bound", maxSameTag + 8},
		{"one key, fifty signatures", "www.trap.example", dns.TypeA, func(q dns.Question, m *dns.Msg) {
			if q.Qtype == dns.TypeA {
				m.Answer = m.Answer[:1]
				for n := range 50 {
					m.Answer = append(m.Answer, garbage("www.trap.example.", zsk.KeyTag(), n))
				}
			}
		}, "bogus 5 bound", maxPerSet + 8},
		{"many sets, each with signatures in vain", "www.trap.example", dns.TypeA, func(q dns.Question, m *dns.Msg) {
			if q.Qtype != dns.TypeA {
				return
			}
			m.Answer = nil
			for n := range 20 {
				owner := fmt.Sprintf("%d.trap.example.", n)
				if n == 0 {
					owner = "www.trap.example."
				}
				m.Answer = append(m.Answer, rr(t, fmt.Sprintf("%s 300 IN CNAME %d.trap.example.", owner, n+1)))
				set := []dns.RR{m.Answer[len(m.Answer)-1]}
				for k := range 3 {
					sig := garbage(owner, zsk.KeyTag(), k)
					sig.TypeCovered = dns.TypeCNAME
					m.Answer = append(m.Answer, sig)
				}
				m.Answer = append(m.Answer, zsk.Sign(t, set, time.Now().Add(-time.Hour), time.Now().Add(time.Hour), nil))
			}
		}, "bogus 5 bound", maxChecks},
		{"sixty keys too many", "www.crowd.example", dns.TypeA, nil, "bogus 5 bound", 8},
		{"sixty labels without a signature", deep, dns.TypeA, func(q dns.Question, m *dns.Msg) {
			if q.Qtype == dns.TypeA {
				m.Answer, m.Ns, m.Rcode = []dns.RR{rr(t, deep+" 300 IN A 203.0.113.1")}, nil, dns.RcodeSuccess
			}
		}, "bogus 5 bound", maxChecks},
		{"a hundred proofs", "www.school.example", dns.TypeMX, func(q dns.Question, m *dns.Msg) {
			for n := range 100 {
				m.Ns = append(m.Ns, &dns.NSEC{Hdr: dns.RR_Header{Name: fmt.Sprintf("%d.school.example.", n), Rrtype: dns.TypeNSEC, Class: dns.ClassINET}, NextDomain: "x.school.example."})
			}
		}, "bogus 5 bound", 12},
	} {
		v := newValidator(t, i, nil)
		i.Tamper(tc.tamper)
		b := NewBudget()
		got := say(v.Judge(t.Context(), i.Reply(tc.name, tc.rrtype), false, b))
		if spent := maxChecks - b.checks; got != tc.want || spent > tc.checks {
			t.Errorf("%s: Judge = %s after %d checks, want %s after at most %d", tc.promise, got, spent, tc.want, tc.checks)
		}
	}
}

// collidingKey makes a key with a tag; the tag is a sum of its bytes.
func collidingKey(t testing.TB, zone string, n int, tag uint16) *dns.DNSKEY {
	t.Helper()
	k := &dns.DNSKEY{Hdr: dns.RR_Header{Name: zone, Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET, Ttl: 300}, Flags: 256, Protocol: 3, Algorithm: dns.ED25519}
	raw := bytes.Repeat([]byte{byte(n), byte(n >> 8), 7}, 11)[:32]
	for guess := uint16(0); ; {
		raw[30], raw[31] = byte(guess>>8), byte(guess)
		k.PublicKey = base64.StdEncoding.EncodeToString(raw)
		off := tag - k.KeyTag()
		if off == 0 {
			return k
		}
		guess += off // and once more if a carry is in the way
	}
}

// A name under attack costs others nothing, and one question is enough for all who ask.
func TestShared(t *testing.T) {
	t.Parallel()
	i := internet(t)
	v := newValidator(t, i, nil)
	results := make(chan string)
	for range 50 {
		go func() { results <- judge(t, v, i, "www.school.example", dns.TypeA) }()
	}
	for range 50 {
		if got := <-results; got != "secure" {
			t.Errorf("one of many = %s, want secure", got)
		}
	}
	for name, rrtype := range map[string]uint16{".": dns.TypeDNSKEY, "example": dns.TypeDNSKEY, "school.example": dns.TypeDS} {
		if n := i.Asked(name, rrtype); n != 1 {
			t.Errorf("%s %s was asked for %d times, want once", name, dns.TypeToString[rrtype], n)
		}
	}
}

// An upstream that does not answer is no proof of anything, and is not remembered.
func TestNoAnswer(t *testing.T) {
	t.Parallel()
	i := internet(t)
	gone := errors.New("gone")
	down := true
	v := newValidator(t, i, func(c *Config) {
		ask := c.Ask
		c.Ask = func(ctx context.Context, name string, rrtype uint16, accept func(*dns.Msg) error) error {
			if down {
				return gone
			}
			return ask(ctx, name, rrtype, accept)
		}
	})
	if _, err := v.Judge(t.Context(), i.Reply("www.school.example", dns.TypeA), false, NewBudget()); !errors.Is(err, gone) {
		t.Errorf("Judge without upstreams = %v, want %v", err, gone)
	}
	down = false
	if got := judge(t, v, i, "www.school.example", dns.TypeA); got != "secure" {
		t.Errorf("Judge when they are back = %s, want secure", got)
	}
	v.Close()
	if _, err := v.Judge(t.Context(), i.Reply("www.signed.test", dns.TypeA), false, NewBudget()); !errors.Is(err, errClosed) {
		t.Errorf("Judge when closed = %v, want %v", err, errClosed)
	}
}

// What a clock does that is not right, and what is said of it.
func TestClock(t *testing.T) {
	t.Parallel()
	from := time.Date(2027, 3, 1, 0, 0, 0, 0, time.UTC)
	zone := func(name string) *testkit.Zone {
		return &testkit.Zone{Name: name, Algorithm: dns.ED25519, From: from, Until: from.Add(14 * 24 * time.Hour)}
	}
	host := zone("example")
	host.Records = []string{"www.example. 300 IN A 203.0.113.1"}
	i := testkit.NewInternet(t, zone("."), host)
	for _, tc := range []struct {
		promise string
		clock   time.Time
		want    string
		trouble string
		log     string
	}{
		{"right", from.Add(time.Hour), "secure", "", ""},
		{"an hour behind", from.Add(-time.Hour), "secure", "", ""},
		{"an hour ahead", from.Add(14*24*time.Hour + time.Hour), "secure", "", ""},
		{"a week behind: names are found, and nothing is called secure", from.Add(-7 * 24 * time.Hour), "insecure", "clock", "the clock is behind"},
		{"as a box without a battery begins", time.Date(2000, 1, 2, 0, 0, 0, 0, time.UTC), "insecure", "clock", "the clock is behind"},
		{"a week ahead: nothing tells it from an old signature", from.Add(21 * 24 * time.Hour), "bogus 7", "past its time", "is the clock ahead?"},
	} {
		synctest.Test(t, func(t *testing.T) {
			time.Sleep(time.Until(tc.clock))
			var log bytes.Buffer
			v := New(Config{Anchors: i.Anchors(), Ask: askOf(i), Log: slog.New(slog.NewTextHandler(&log, nil))})
			defer v.Close()
			for range 3 {
				if got := judge(t, v, i, "www.example", dns.TypeA); got != tc.want {
					t.Errorf("%s: Judge = %s, want %s", tc.promise, got, tc.want)
				}
			}
			switch err := v.Trouble(); {
			case tc.trouble == "" && err != nil, tc.trouble != "" && (err == nil || !strings.Contains(err.Error(), tc.trouble)):
				t.Errorf("%s: Trouble = %v, want %q", tc.promise, err, tc.trouble)
			}
			if tc.log == "" && log.Len() > 0 || strings.Count(log.String(), tc.log) < 1 {
				t.Errorf("%s: the log says %q, want %q", tc.promise, log.String(), tc.log)
			}
			if strings.Contains(log.String(), "www.example") {
				t.Errorf("%s: the operator's log has a name that was asked for: %s", tc.promise, log.String())
			}
		})
	}
	synctest.Test(t, func(t *testing.T) { // set right, it is as if nothing had been
		time.Sleep(time.Until(from.Add(-time.Hour * 24)))
		v := New(Config{Anchors: i.Anchors(), Ask: askOf(i)})
		defer v.Close()
		if got := judge(t, v, i, "www.example", dns.TypeA); got != "insecure" {
			t.Errorf("a day behind: %s, want insecure", got)
		}
		time.Sleep(25 * time.Hour)
		if got := judge(t, v, i, "www.example", dns.TypeA); got != "secure" || v.Trouble() != nil {
			t.Errorf("right again: %s, %v, want secure", got, v.Trouble())
		}
	})
}

// What is bogus is asked for again soon; what is known is kept for its TTL, and no
// longer than its signature.
func TestKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.Date(2027, 3, 1, 0, 0, 0, 0, time.UTC)))
		i := testkit.NewInternet(t, &testkit.Zone{Name: ".", Algorithm: dns.ED25519},
			&testkit.Zone{Name: "example", Algorithm: dns.ED25519, Records: []string{"www.example. 300 IN A 203.0.113.1"}})
		v := New(Config{Anchors: i.Anchors(), Ask: askOf(i)})
		defer v.Close()
		i.Tamper(func(q dns.Question, m *dns.Msg) {
			if q.Qtype == dns.TypeDNSKEY && q.Name == "example." {
				m.Answer = nil
			}
		})
		if got := judge(t, v, i, "www.example", dns.TypeA); got != "bogus 9" {
			t.Errorf("without keys: %s, want bogus 9", got)
		}
		i.Tamper(nil)
		if got := judge(t, v, i, "www.example", dns.TypeA); got != "bogus 9" {
			t.Errorf("a moment later: %s, want bogus 9 still", got)
		}
		time.Sleep(bogusFor)
		if got := judge(t, v, i, "www.example", dns.TypeA); got != "secure" {
			t.Errorf("after ten seconds: %s, want secure", got)
		}
		before := i.Asked("example", dns.TypeDNSKEY)
		time.Sleep(200 * time.Second)
		judge(t, v, i, "www.example", dns.TypeA)
		if n := i.Asked("example", dns.TypeDNSKEY); n != before {
			t.Errorf("keys with a TTL of 300 s were asked for %d times more within 200 s", n-before)
		}
		time.Sleep(200 * time.Second)
		judge(t, v, i, "www.example", dns.TypeA)
		if n := i.Asked("example", dns.TypeDNSKEY); n != before+1 {
			t.Errorf("keys with a TTL of 300 s were asked for %d times more after 400 s, want once", n-before)
		}
	})
}

// The memory of zones is bounded, whatever is asked.
func TestNodesAreBounded(t *testing.T) {
	v := New(Config{Ask: func(context.Context, string, uint16, func(*dns.Msg) error) error { return errClosed }})
	defer v.Close()
	for n := range 100_000 {
		v.mu.Lock()
		v.keep(fmt.Sprintf("%d.example.", n), &node{status: Insecure, expires: time.Now().Add(time.Hour)})
		v.mu.Unlock()
	}
	if n := len(v.young) + len(v.old); n > nodesBytes/256 || n < nodesBytes/1024 {
		t.Errorf("%d nodes are kept within %d bytes", n, nodesBytes)
	}
}

func TestReadAnchors(t *testing.T) {
	i := internet(t)
	ksk, zsk := i.Zone(".").Keys()
	for _, tc := range []struct {
		promise, text string
		want          int // anchors; 0 is an error
		err           string
	}{
		{"the built-in ones", rootAnchors, 2, ""},
		{"a key", ksk.String(), 1, ""},
		{"keys as a resolver keeps them", "; autotrust\n" + ksk.String() + "\n" + zsk.String(), 1, ""},
		{"without class and TTL", ". DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D", 1, ""},
		{"nothing", "; nothing\n", 0, "no trust anchor"},
		{"another zone's", "example. IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D", 0, "want the root's"},
		{"another record", ". IN NS a.invalid.", 0, "no trust anchor"},
		{"a digest nobody knows", ". IN DS 1 8 9 AABB", 0, "not known here"},
		{"no zone file", "<html>", 0, ""},
	} {
		anchors, err := ReadAnchors(strings.NewReader(tc.text), "root.key")
		if len(anchors) != tc.want || (err == nil) != (tc.want > 0) || err != nil && (!strings.Contains(err.Error(), tc.err) || !strings.Contains(err.Error(), "root.key")) {
			t.Errorf("%s: ReadAnchors = %d anchors, %v, want %d, %q", tc.promise, len(anchors), err, tc.want, tc.err)
		}
	}
	if anchors, _ := ReadAnchors(strings.NewReader(rootAnchors), ""); anchors[0].KeyTag != 20326 || anchors[1].KeyTag != 38696 {
		t.Errorf("the built-in anchors are %v", anchors)
	}
}
