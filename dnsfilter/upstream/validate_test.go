package upstream

import (
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"schoolgate/internal/testkit"
)

func signedInternet(t testing.TB) *testkit.Internet {
	t.Helper()
	i := testkit.NewInternet(t,
		&testkit.Zone{Name: ".", Algorithm: dns.ECDSAP256SHA256},
		&testkit.Zone{Name: "test", Algorithm: dns.ED25519, NSEC3: true},
		&testkit.Zone{Name: "school.test", Algorithm: dns.ED25519, Records: []string{
			"www.school.test. 300 IN A 203.0.113.1", "alias.school.test. 300 IN CNAME www.school.test.", "out.school.test. 300 IN CNAME www.plain.test.",
			"*.w.school.test. 300 IN A 203.0.113.3", "inside.school.test. 300 IN A 10.0.0.1", "to.school.test. 300 IN CNAME nas.private.test.",
			`h.school.test. 300 IN HTTPS 1 . alpn="h3,h2"`, "short.school.test. 300 IN A 203.0.113.8", "d.school.test. 300 IN DNAME w.school.test.",
		}},
		&testkit.Zone{Name: "plain.test", Records: []string{"www.plain.test. 300 IN A 203.0.113.2"}},
		&testkit.Zone{Name: "dear.test", Algorithm: dns.ED25519, NSEC3: true, Iterations: 500},
		&testkit.Zone{Name: "private.test", Algorithm: dns.ED25519, Records: []string{"nas.private.test. 300 IN A 10.0.0.9"}},
	)
	i.Serve()
	return i
}

func validating(t testing.TB, i *testkit.Internet, change func(*Config)) *Resolver {
	t.Helper()
	cfg := Config{Servers: []string{i.Addr}, Validate: true, Anchors: i.Anchors()}
	if change != nil {
		change(&cfg)
	}
	return newResolver(t, cfg)
}

// forge changes the addresses of a name on their way.
func forge(name string) func(dns.Question, *dns.Msg) {
	return func(q dns.Question, m *dns.Msg) {
		for _, rr := range m.Answer {
			if a, ok := rr.(*dns.A); ok && strings.EqualFold(a.Hdr.Name, name) {
				a.A = net.IPv4(203, 0, 113, 66)
			}
		}
	}
}

// What validation says reaches who asked: authentic where it is secure and nothing was
// changed, as ever where it is insecure, and nothing at all where it is bogus.
func TestValidate(t *testing.T) {
	t.Parallel()
	i := signedInternet(t)
	i.Tamper(func(q dns.Question, m *dns.Msg) {
		m.AuthenticatedData = true // what an upstream says of it is nothing to us
		forge("short.school.test.")(q, m)
	})
	r := validating(t, i, func(c *Config) {
		c.PrivateZones = []string{"private.test"}
		c.Unvalidated = []string{"short.school.test"}
	})
	for _, tc := range []struct {
		promise, name string
		q             Question
		want          string
	}{
		{"secure", "www.school.test", Question{Type: dns.TypeA}, "NOERROR | www.school.test. A 203.0.113.1 AD"},
		{"secure, with signatures", "www.school.test", Question{Type: dns.TypeA, DO: true}, "NOERROR | www.school.test. A 203.0.113.1 | www.school.test. RRSIG AD"},
		{"a chain", "alias.school.test", Question{Type: dns.TypeA}, "NOERROR | alias.school.test. CNAME www.school.test. | www.school.test. A 203.0.113.1 AD"},
		{"a wildcard, without its proof", "any.w.school.test", Question{Type: dns.TypeA}, "NOERROR | any.w.school.test. A 203.0.113.3 AD"},
		{"a wildcard, with it", "any.w.school.test", Question{Type: dns.TypeA, DO: true}, "NOERROR | any.w.school.test. A 203.0.113.3 | any.w.school.test. RRSIG +NSEC +RRSIG AD"},
		{"a DNAME", "x.d.school.test", Question{Type: dns.TypeA, DO: true}, "NOERROR | d.school.test. DNAME w.school.test. | d.school.test. RRSIG | x.d.school.test. CNAME x.w.school.test. | x.w.school.test. A 203.0.113.3 | x.w.school.test. RRSIG +NSEC +RRSIG AD"},
		{"no such name", "gone.school.test", Question{Type: dns.TypeA}, "NXDOMAIN +SOA AD"},
		{"no such name, with proof", "gone.school.test", Question{Type: dns.TypeA, DO: true}, "NXDOMAIN +SOA +RRSIG +NSEC +RRSIG +NSEC +RRSIG AD"},
		{"insecure", "www.plain.test", Question{Type: dns.TypeA}, "NOERROR | www.plain.test. A 203.0.113.2"},
		{"a chain into what is insecure", "out.school.test", Question{Type: dns.TypeA}, "NOERROR | out.school.test. CNAME www.plain.test. | www.plain.test. A 203.0.113.2"},
		{"a chain into the school's own", "to.school.test", Question{Type: dns.TypeA}, "NOERROR | to.school.test. CNAME nas.private.test. private"},
		{"the school's own", "nas.private.test", Question{Type: dns.TypeA}, "NOERROR | nas.private.test. A 10.0.0.9"},
		{"changed by us", "h.school.test", Question{Type: dns.TypeHTTPS}, `NOERROR | h.school.test. HTTPS 1 . alpn="h2"`},
		{"taken out by us", "inside.school.test", Question{Type: dns.TypeA}, "NOERROR private"},
		{"an exception", "short.school.test", Question{Type: dns.TypeA}, "NOERROR | short.school.test. A 203.0.113.66"},
		{"too many iterations", "gone.dear.test", Question{Type: dns.TypeA}, "NXDOMAIN +SOA EDE 27"},
		{"a client that checks for itself", "www.school.test", Question{Type: dns.TypeA, CD: true}, "NOERROR | www.school.test. A 203.0.113.1"},
	} {
		for _, state := range []string{"asked", "cached"} {
			if got := sayQuestion(t, r, tc.name, tc.q); got != tc.want {
				t.Errorf("%s, %s: %s = %s, want %s", tc.promise, state, tc.name, got, tc.want)
			}
		}
	}
}

// sayQuestion is askQuestion with what signatures say left out, and the extended error.
func sayQuestion(t testing.TB, r *Resolver, name string, q Question) string {
	t.Helper()
	q.Name, _ = WireName(name)
	var a Answer
	if err := r.Resolve(t.Context(), &a, q); err != nil {
		if bogus := BogusError(0); errors.As(err, &bogus) {
			return "bogus " + bogus.Error()
		}
		return err.Error()
	}
	parts := strings.Split(read(t, &a, q), " | ")
	for i, part := range parts {
		if name, rest, ok := strings.Cut(part, " RRSIG "); ok {
			parts[i] = name + " RRSIG"
			for _, word := range strings.Fields(rest) {
				if word == "AD" || word[0] == '+' && strings.ToUpper(word) == word && len(word) < 7 {
					parts[i] += " " + word
				}
			}
		}
	}
	text := strings.Join(parts, " | ")
	if a.Code() == 27 {
		text += " EDE 27"
	}
	return text
}

const forgery = "bogus DNSSEC validation: DNSSEC Bogus"

// A forged answer is no answer, for a moment; a client that checks for itself gets it,
// and leaves nothing behind for others. Neither do others get what is stale.
func TestBogus(t *testing.T) {
	t.Parallel()
	i := signedInternet(t)
	r := validating(t, i, nil)
	secure, forged := "NOERROR | www.school.test. A 203.0.113.1 AD", "NOERROR | www.school.test. A 203.0.113.66"
	plain, checking := Question{Type: dns.TypeA}, Question{Type: dns.TypeA, CD: true}
	say := func(when string, q Question, want string) {
		t.Helper()
		if got := sayQuestion(t, r, "www.school.test", q); got != want {
			t.Errorf("%s: %s, want %s", when, got, want)
		}
	}
	i.Tamper(forge("www.school.test."))
	say("forged, to a client that checks", checking, forged)
	say("forged", plain, forgery)
	asked := i.Asked("www.school.test", dns.TypeA)
	say("again", plain, forgery)
	if n := i.Asked("www.school.test", dns.TypeA) - asked; n != 0 {
		t.Errorf("a bogus name was asked for %d times within a moment", n)
	}
	say("forged, to a client that checks, again", checking, forged)
	i.Tamper(nil)
	r.later(11 * time.Second)
	say("honest again", plain, secure)
	say("what a client that checks was told is kept for those that do", checking, forged)
	r.later(400 * time.Second)
	i.Tamper(forge("www.school.test."))
	say("forged when the true answer is stale", plain, forgery)
	i.Tamper(nil)
	r.later(11 * time.Second)
	say("honest once more", plain, secure)
	i.Tamper(func(_ dns.Question, m *dns.Msg) { m.Rcode, m.Answer, m.Ns = dns.RcodeServerFailure, nil, nil })
	r.later(400 * time.Second)
	say("stale, since nobody answers", plain, "NOERROR | www.school.test. A 203.0.113.1 stale")
}

// While an answer is still good, a forged one in its place is passed over.
func TestBogusRefresh(t *testing.T) {
	t.Parallel()
	i := signedInternet(t)
	r := validating(t, i, nil)
	want := "NOERROR | www.school.test. A 203.0.113.1 AD"
	if got := ask(t, r, "www.school.test", dns.TypeA); got != want {
		t.Fatalf("asked: %s, want %s", got, want)
	}
	i.Tamper(forge("www.school.test."))
	r.later(280 * time.Second) // its last tenth: it is refreshed while it is served
	for range 2 {
		if got := ask(t, r, "www.school.test", dns.TypeA); got != want {
			t.Errorf("near its end: %s, want %s", got, want)
		}
		for r.inFlight() > 0 {
			time.Sleep(time.Millisecond)
		}
	}
	if n := i.Asked("www.school.test", dns.TypeA); n < 2 {
		t.Errorf("asked %d times, want the refresh to have been tried", n)
	}
}

// One upstream that cuts signatures off does not spoil the others; if all do, nothing is
// believed.
func TestStripping(t *testing.T) {
	t.Parallel()
	i := signedInternet(t)
	old := testkit.NewUpstream(t, "www.school.test. 300 IN A 203.0.113.1")
	r := validating(t, i, func(c *Config) { c.Servers = []string{old.Addr, i.Addr}; c.Ordered = true })
	if got, want := ask(t, r, "www.school.test", dns.TypeA), "NOERROR | www.school.test. A 203.0.113.1 AD"; got != want {
		t.Errorf("with one good upstream: %s, want %s", got, want)
	}
	r = validating(t, i, func(c *Config) { c.Servers = []string{old.Addr} })
	if got := sayQuestion(t, r, "www.school.test", Question{Type: dns.TypeA}); !strings.HasPrefix(got, "bogus") {
		t.Errorf("without: %s, want bogus", got)
	}
	if r.Trouble() == nil {
		t.Error("Trouble = nil where no name can be validated")
	}
}

// A chain that the upstream leaves to us is judged link by link.
func TestHalfChains(t *testing.T) {
	t.Parallel()
	i := signedInternet(t)
	halve := func(q dns.Question, m *dns.Msg) {
		if q.Qtype == dns.TypeA && len(m.Answer) > 2 && m.Answer[0].Header().Rrtype == dns.TypeCNAME {
			m.Answer = m.Answer[:2] // the alias and its signature
		}
	}
	i.Tamper(halve)
	r := validating(t, i, nil)
	for name, want := range map[string]string{
		"alias.school.test": "NOERROR | alias.school.test. CNAME www.school.test. | www.school.test. A 203.0.113.1 AD",
		"out.school.test":   "NOERROR | out.school.test. CNAME www.plain.test. | www.plain.test. A 203.0.113.2",
	} {
		if got := ask(t, r, name, dns.TypeA); got != want {
			t.Errorf("half a chain: %s = %s, want %s", name, got, want)
		}
	}
	i.Tamper(func(q dns.Question, m *dns.Msg) { halve(q, m); forge("www.school.test.")(q, m) })
	r = validating(t, i, nil)
	if got := sayQuestion(t, r, "alias.school.test", Question{Type: dns.TypeA}); got != forgery {
		t.Errorf("half a chain to a forged address: %s, want %s", got, forgery)
	}
}

// Names of many zones at once, with nothing known yet, over UDP and TCP.
func TestValidateMany(t *testing.T) {
	t.Parallel()
	i := signedInternet(t)
	r := validating(t, i, nil)
	var all sync.WaitGroup
	for n := range 64 {
		name, want := "www.school.test", "NOERROR | www.school.test. A 203.0.113.1 AD"
		if n%2 == 0 {
			name, want = "www.plain.test", "NOERROR | www.plain.test. A 203.0.113.2"
		}
		all.Go(func() {
			if got := askQuestion(t, r, name, Question{Type: dns.TypeA}); got != want {
				t.Errorf("%s = %s, want %s", name, got, want)
			}
		})
	}
	all.Wait()
	if n := i.Asked("test", dns.TypeDNSKEY); n != 1 {
		t.Errorf("the keys of a zone were asked for %d times, want once for all", n)
	}
}
