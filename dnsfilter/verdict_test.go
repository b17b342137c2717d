package dnsfilter

import (
	"fmt"
	"slices"
	"testing"

	"github.com/miekg/dns"

	"schoolgate/policy"
)

func TestVerdicts(t *testing.T) {
	covered := ruling(policy.Allow, policy.ReasonApproved, policy.Uncategorised, eyfs)
	staffBlock := ruling(policy.Block, policy.ReasonCategory, policy.Gambling, staff)
	shielded := ruling(policy.Allow, policy.ReasonNeverBlock, policy.HelpLine, ks2)
	shielded.Shielded = true
	d := openDoor(t, rules{
		"":                 allowed(),
		"casino.example":   blocked(policy.Gambling),
		"bet.example":      staffBlock,
		"bad.example":      ruling(policy.Block, policy.ReasonMandatory, policy.ChildAbuse, staff),
		"unlisted.example": ruling(policy.Block, policy.ReasonNotApproved, policy.Uncategorised, eyfs),
		"think.example":    ruling(policy.Warn, policy.ReasonCategory, policy.Forums, ks2),
		"none.example":     {},
		"approved.example": covered,
		"cdn.example":      ruling(policy.Block, policy.ReasonNotApproved, policy.Uncategorised, eyfs),
		"help.example":     shielded,
		"www.google.com":   safe(t, "forcesafesearch.google.com"),
		"yandex.example":   safe(t, "213.180.193.56"),
		"lost.example":     safe(t, "gone.example"),
		"maybe.example":    safe(t, "v4only.example"),
	}, func(c *Config) { c.EDEText = "blocked by the filter" },
		"open.example. 300 IN A 203.0.113.1", "open.example. 300 IN AAAA 2001:db8::1", `open.example. 300 IN TXT "hello"`,
		"casino.example. 300 IN A 203.0.113.2",
		"cloak.example. 300 IN CNAME tracker.casino.example.", "tracker.casino.example. 300 IN A 203.0.113.2",
		"deep.example. 300 IN CNAME mid.example.", "mid.example. 300 IN CNAME bad.example.", "bad.example. 300 IN A 203.0.113.3",
		"www.approved.example. 300 IN CNAME x.cdn.example.", "x.cdn.example. 300 IN A 203.0.113.4",
		"alias.example. 300 IN CNAME www.google.com.", "www.google.com. 300 IN A 203.0.113.5",
		"forcesafesearch.google.com. 300 IN A 216.239.38.120", "forcesafesearch.google.com. 300 IN AAAA 2001:4860:4802:32::78",
		"v4only.example. 300 IN A 203.0.113.6",
		"yandex.example. 300 IN A 203.0.113.7",
		"lost.example. 300 IN A 203.0.113.8",
		"sunk.example. 300 IN CNAME under.bad.example.", "under.bad.example. 300 IN A 0.0.0.0",
		"inside.example. 300 IN A 192.168.1.1", "mixed.example. 300 IN A 203.0.113.9", "mixed.example. 300 IN A 10.0.0.1",
		"help.example. 300 IN A 203.0.113.10",
		"kindline.example. 300 IN CNAME chat.example.", "chat.example. 300 IN CNAME help.example.",
		"_sip._tcp.open.example. 300 IN SRV 1 1 5060 open.example.",
		`https.example. 300 IN HTTPS 1 . alpn="h3,h2" ipv4hint=203.0.113.11 ech="AEX+DQBBpQAgACB="`,
		`front.example. 300 IN HTTPS 1 casino.example. alpn="h2"`,
		"beside.example. 300 IN CNAME casino.example.", "beside.example. 300 IN A 203.0.113.20",
		`unread.example. 300 IN CNAME casino\.example.`, `casino\.example. 300 IN A 203.0.113.2`,
		`quic.example. 300 IN HTTPS 1 . alpn="h3" no-default-alpn=""`,
		"dns.a.example. 300 IN A 203.0.113.12",
	)
	for i := range 17 { // one more than can be judged, and the last of them hides
		d.upstream.Add(t, fmt.Sprintf(`fronts.example. 300 IN HTTPS %d front%d.example. alpn="h2"`, i+1, i))
	}
	d.upstream.Add(t, `fronts.example. 300 IN HTTPS 99 casino.example. alpn="h2"`)
	const b, a = policy.Block, policy.Allow
	for _, tc := range []struct {
		promise string
		name    string
		qtype   uint16
		want    string
		ede     uint16
		verdict policy.Verdict
		reason  policy.Reason
		finding string
	}{
		{"an allowed name is answered", "open.example", dns.TypeA, "NOERROR | A 203.0.113.1", 0, a, policy.ReasonUncategorised, ""},
		{"for IPv6 too", "open.example", dns.TypeAAAA, "NOERROR | AAAA 2001:db8::1", 0, a, policy.ReasonUncategorised, ""},
		{"a service name with underscores passes", "_sip._tcp.open.example", dns.TypeSRV, "NOERROR | SRV 1 1 5060 open.example.", 0, a, policy.ReasonUncategorised, ""},
		{"a name that is not there is not there", "none-such.example", dns.TypeA, "NXDOMAIN", 0, a, policy.ReasonUncategorised, ""},
		{"a blocked name gets the sinkhole", "casino.example", dns.TypeA, "NOERROR | A 192.0.2.80", 15, b, policy.ReasonCategory, ""},
		{"over IPv6 too", "casino.example", dns.TypeAAAA, "NOERROR | AAAA 2001:db8::80", 15, b, policy.ReasonCategory, ""},
		{"HTTPS of a blocked name is NODATA", "casino.example", dns.TypeHTTPS, "NOERROR", 15, b, policy.ReasonCategory, ""},
		{"SVCB too", "casino.example", dns.TypeSVCB, "NOERROR", 15, b, policy.ReasonCategory, ""},
		{"any other type too", "casino.example", dns.TypeTXT, "NOERROR", 15, b, policy.ReasonCategory, ""},
		{"a mandatory list blocks staff", "bad.example", dns.TypeA, "NOERROR | A 192.0.2.80", 15, b, policy.ReasonMandatory, ""},
		{"approved-only is filtered, code 17", "unlisted.example", dns.TypeA, "NOERROR | A 192.0.2.80", 17, b, policy.ReasonNotApproved, ""},
		{"a warning leads to the page", "think.example", dns.TypeA, "NOERROR | A 192.0.2.80", 15, policy.Warn, policy.ReasonCategory, ""},
		{"no policy refuses, and says not ready", "none.example", dns.TypeA, "SERVFAIL", 14, b, policy.ReasonNotReady, ""},
		{"a CNAME to a blocked name is blocked", "cloak.example", dns.TypeA, "NOERROR | A 192.0.2.80", 15, b, policy.ReasonCategory, "cname_cloak"},
		{"at any depth", "deep.example", dns.TypeA, "NOERROR | A 192.0.2.80", 15, b, policy.ReasonMandatory, "cname_cloak"},
		{"an HTTPS record that leads to a blocked name too", "front.example", dns.TypeHTTPS, "NOERROR", 15, b, policy.ReasonCategory, "cname_cloak"},
		{"more of them than can be judged are no answer", "fronts.example", dns.TypeHTTPS, "SERVFAIL", 22, a, policy.ReasonUncategorised, ""},
		{"a CNAME beside an address is none", "beside.example", dns.TypeA, "NOERROR | A 203.0.113.20", 0, a, policy.ReasonUncategorised, ""},
		{"who asks for the CNAME is not told it either", "cloak.example", dns.TypeCNAME, "NOERROR", 15, b, policy.ReasonCategory, "cname_cloak"},
		{"nor led to a name that cannot be read", "unread.example", dns.TypeA, "NOERROR | A 192.0.2.80", 15, b, policy.ReasonBadHost, "cname_cloak"},
		{"what carries an approved site need not be approved", "www.approved.example", dns.TypeA, "NOERROR | CNAME x.cdn.example. | A 203.0.113.4", 0, a, policy.ReasonApproved, ""},
		{"a search engine is its safe host", "www.google.com", dns.TypeA, "NOERROR | CNAME forcesafesearch.google.com. | A 216.239.38.120", 4, a, policy.ReasonUncategorised, ""},
		{"over IPv6", "www.google.com", dns.TypeAAAA, "NOERROR | CNAME forcesafesearch.google.com. | AAAA 2001:4860:4802:32::78", 4, a, policy.ReasonUncategorised, ""},
		{"its HTTPS record says no more", "www.google.com", dns.TypeHTTPS, "NOERROR | CNAME forcesafesearch.google.com.", 4, a, policy.ReasonUncategorised, ""},
		{"an alias of it is the safe host too", "alias.example", dns.TypeA, "NOERROR | CNAME forcesafesearch.google.com. | A 216.239.38.120", 4, a, policy.ReasonUncategorised, ""},
		{"a safe host without IPv6 is NODATA", "maybe.example", dns.TypeAAAA, "NOERROR | CNAME v4only.example.", 4, a, policy.ReasonUncategorised, ""},
		{"a safe address", "yandex.example", dns.TypeA, "NOERROR | A 213.180.193.56", 4, a, policy.ReasonUncategorised, ""},
		{"of the other family is NODATA", "yandex.example", dns.TypeAAAA, "NOERROR", 4, a, policy.ReasonUncategorised, ""},
		{"a safe host that is gone is never the unsafe one", "lost.example", dns.TypeA, "SERVFAIL", 4, a, policy.ReasonUncategorised, ""},
		{"a public name with a private address is refused", "inside.example", dns.TypeA, "NOERROR", 15, b, policy.ReasonDestination, "rebinding"},
		{"but an attempt at a listed name is one, whatever the resolver makes of that", "sunk.example", dns.TypeA, "NOERROR | A 192.0.2.80", 15, b, policy.ReasonMandatory, "cname_cloak"},
		{"also among public ones", "mixed.example", dns.TypeA, "NOERROR", 15, b, policy.ReasonDestination, "rebinding"},
		{"ech and h3 go, the rest stays", "https.example", dns.TypeHTTPS, `NOERROR | HTTPS 1 . alpn="h2" ipv4hint="203.0.113.11"`, 0, a, policy.ReasonUncategorised, ""},
		{"a record of h3 alone leaves a negative answer", "quic.example", dns.TypeHTTPS, "NOERROR", 0, a, policy.ReasonUncategorised, ""},
		{"Firefox's canary is not there", "use-application-dns.net", dns.TypeA, "NXDOMAIN", 0, b, policy.ReasonProtocol, "canary"},
		{"Apple's relay is not there", "mask.icloud.com", dns.TypeAAAA, "NXDOMAIN", 0, b, policy.ReasonProtocol, "canary"},
		{"", "mask-h2.icloud.com", dns.TypeHTTPS, "NXDOMAIN", 0, b, policy.ReasonProtocol, "canary"},
		{"", "mask-canary.icloud.com", dns.TypeA, "NXDOMAIN", 0, b, policy.ReasonProtocol, "canary"},
		{"", "doh.dns.apple.com", dns.TypeA, "NXDOMAIN", 0, b, policy.ReasonProtocol, "canary"},
		{"no encrypted resolver is designated", "_dns.resolver.arpa", dns.TypeSVCB, "NOERROR", 0, a, policy.ReasonUncategorised, ""},
		{"localhost is here", "localhost", dns.TypeA, "NOERROR | A 127.0.0.1", 0, a, policy.ReasonUncategorised, ""},
		{"below it too", "app.localhost", dns.TypeAAAA, "NOERROR | AAAA ::1", 0, a, policy.ReasonUncategorised, ""},
		{"", "localhost", dns.TypeMX, "NOERROR", 0, a, policy.ReasonUncategorised, ""},
		{"private reverse zones end here", "1.0.168.192.in-addr.arpa", dns.TypePTR, "NXDOMAIN", 0, a, policy.ReasonUncategorised, ""},
		{"", "7.20.172.in-addr.arpa", dns.TypePTR, "NXDOMAIN", 0, a, policy.ReasonUncategorised, ""},
		{"", "168.192.in-addr.arpa", dns.TypeSOA, "NOERROR", 0, a, policy.ReasonUncategorised, ""},
		{"", "printer.local", dns.TypeA, "NXDOMAIN", 0, a, policy.ReasonUncategorised, ""},
		{"ANY is answered with little", "open.example", dns.TypeANY, `NOERROR | HINFO "RFC8482" ""`, 0, a, policy.ReasonUncategorised, ""},
		{"ANY of a blocked name is NODATA", "casino.example", dns.TypeANY, "NOERROR", 15, b, policy.ReasonCategory, ""},
		{"no zone transfer", "open.example", dns.TypeAXFR, "REFUSED", 0, b, policy.ReasonProtocol, ""},
		{"no tunnel type", "open.example", dns.TypeNULL, "REFUSED", 0, b, policy.ReasonProtocol, ""},
		{"mail agent types of 1983", "open.example", dns.TypeMAILB, "NOTIMP", 0, b, policy.ReasonProtocol, ""},
		{"a name that reads in two ways is refused", `a\.b.open.example`, dns.TypeA, "REFUSED", 0, b, policy.ReasonBadHost, "bad_host"},
		{"", `a\000.open.example`, dns.TypeA, "REFUSED", 0, b, policy.ReasonBadHost, "bad_host"},
		{"", "b\\195\\188cher.open.example", dns.TypeA, "REFUSED", 0, b, policy.ReasonBadHost, "bad_host"},
		{"what is known of its parent is kept", `x\032y.casino.example`, dns.TypeA, "REFUSED", 0, b, policy.ReasonCategory, "bad_host"},
		{"a label with a dot inside is not two labels", `casino\.example`, dns.TypeA, "REFUSED", 0, b, policy.ReasonBadHost, "bad_host"},
	} {
		t.Run(tc.promise+" "+tc.name+" "+dns.TypeToString[tc.qtype], func(t *testing.T) {
			r := d.ask(t, tc.name, tc.qtype)
			if got := said(r); got != tc.want {
				t.Errorf("%s %s = %s, want %s", tc.name, dns.TypeToString[tc.qtype], got, tc.want)
			}
			codes, text := edeOf(r)
			if tc.ede == 0 && len(codes) > 0 || tc.ede != 0 && !slices.Contains(codes, tc.ede) && tc.want != "SERVFAIL" {
				t.Errorf("EDE = %v, want %d", codes, tc.ede)
			}
			if text != "" {
				t.Errorf("extra text %q on a pupil's answer", text)
			}
			e := d.journal.last(t)
			if e.Verdict != tc.verdict || e.Reason != tc.reason || e.Finding != tc.finding || e.Status != r.Rcode {
				t.Errorf("event = %s %s %q %d, want %s %s %q %d", e.Verdict, e.Reason, e.Finding, e.Status, tc.verdict, tc.reason, tc.finding, r.Rcode)
			}
			if tc.reason == policy.ReasonMandatory && e.Host != "" {
				t.Errorf("event of a mandatory hit names host %q", e.Host)
			}
			for _, rr := range append(slices.Clone(r.Answer), r.Ns...) {
				if rr.Header().Ttl > 60 {
					t.Errorf("TTL %d, want at most 60: a changed rule must be felt (Y34)", rr.Header().Ttl)
				}
			}
			if negative := len(r.Answer) == 0 && (r.Rcode == dns.RcodeSuccess || r.Rcode == dns.RcodeNameError); negative && len(r.Ns) == 0 {
				t.Errorf("negative answer without SOA (RFC 2308)")
			}
		})
	}
	t.Run("staff may read the category, where the school says so", func(t *testing.T) {
		if _, text := edeOf(d.ask(t, "bet.example", dns.TypeA)); text != "blocked by the filter: gambling" {
			t.Errorf("extra text = %q, want the category", text)
		}
	})
	t.Run("a help-line leaves no trace of the person, by another of its names neither", func(t *testing.T) {
		for _, name := range []string{"help.example", "chat.example", "kindline.example"} {
			d.ask(t, name, dns.TypeA)
			if e := d.journal.last(t); e.Client != "" || e.Host != "" || e.Pupil || !e.Shielded {
				t.Errorf("event of %s keeps %q, %q, shielded %v", name, e.Client, e.Host, e.Shielded)
			}
		}
	})
}

func TestBlockingForms(t *testing.T) {
	warn := ruling(policy.Warn, policy.ReasonCategory, policy.Forums, ks2)
	for _, tc := range []struct {
		form        Blocking
		block, page string
	}{
		{Sinkhole, "NOERROR | A 192.0.2.80", "NOERROR | A 192.0.2.80"},
		{NXDOMAIN, "NXDOMAIN", "NOERROR | A 192.0.2.80"},
		{Refused, "REFUSED", "NOERROR | A 192.0.2.80"},
	} {
		d := openDoor(t, rules{"casino.example": blocked(policy.Gambling), "think.example": warn}, func(c *Config) { c.Blocking = tc.form })
		if got := said(d.ask(t, "casino.example", dns.TypeA)); got != tc.block {
			t.Errorf("form %d: blocked = %s, want %s", tc.form, got, tc.block)
		}
		if got := said(d.ask(t, "think.example", dns.TypeA)); got != tc.page {
			t.Errorf("form %d: warned = %s, want %s", tc.form, got, tc.page)
		}
	}
}

// No question of any type or class gives an address of a blocked name (T1).
func TestNoTypeLeaksABlockedName(t *testing.T) {
	d := openDoor(t, rules{"casino.example": blocked(policy.Gambling)}, nil,
		"casino.example. 300 IN A 203.0.113.2", "casino.example. 300 IN AAAA 2001:db8::2",
		"casino.example. 300 IN HTTPS 1 . ipv4hint=203.0.113.2", "casino.example. 300 IN MX 1 mail.casino.example.")
	ask := func(qtype, class uint16) {
		m := question("CaSiNo.example", qtype)
		m.Question[0].Qclass = class
		r := d.send(t, m)
		for _, rr := range slices.Concat(r.Answer, r.Ns, r.Extra) {
			switch rr := rr.(type) {
			case *dns.A:
				if rr.A.String() != "192.0.2.80" {
					t.Fatalf("type %d class %d gave %s", qtype, class, rr)
				}
			case *dns.AAAA:
				if rr.AAAA.String() != "2001:db8::80" {
					t.Fatalf("type %d class %d gave %s", qtype, class, rr)
				}
			case *dns.SOA, *dns.OPT:
			default:
				t.Fatalf("type %d class %d gave %s", qtype, class, rr)
			}
		}
	}
	for qtype := range uint16(1024) {
		ask(qtype, dns.ClassINET)
	}
	for _, qtype := range []uint16{32768, 32769, 65280, 65535} {
		ask(qtype, dns.ClassINET)
	}
	for _, class := range []uint16{0, 2, dns.ClassCHAOS, dns.ClassHESIOD, dns.ClassNONE, dns.ClassANY, 65535} {
		ask(dns.TypeA, class)
	}
	if n := d.upstream.Asked(""); n != 0 {
		t.Errorf("%d questions about a blocked name left the school", n)
	}
}

// An event that cannot be recorded takes its answer with it.
func TestUnrecordedIsRefused(t *testing.T) {
	d := openDoor(t, rules{"": allowed(), "casino.example": blocked(policy.Gambling)}, nil, "open.example. 300 IN A 203.0.113.1")
	d.journal.broken.Store(true)
	for _, name := range []string{"open.example", "casino.example", "localhost"} {
		for _, network := range []string{"udp", "tcp"} {
			if got := said(d.via(t, network, question(name, dns.TypeA))); got != "SERVFAIL" {
				t.Errorf("%s over %s = %s, want SERVFAIL", name, network, got)
			}
		}
	}
	d.journal.broken.Store(false)
	if got := said(d.ask(t, "open.example", dns.TypeA)); got != "NOERROR | A 203.0.113.1" {
		t.Errorf("after the journal is back: %s", got)
	}
}

// A panic in what we call refuses one question and no more.
func TestPanicIsARefusal(t *testing.T) {
	d := openDoor(t, deciderFunc(func(q policy.Request) policy.Ruling {
		if q.Host.String() == "boom.example" {
			panic("fault for a test")
		}
		return allowed()
	}), nil, "open.example. 300 IN A 203.0.113.1", "boom.example. 300 IN A 203.0.113.2", "chain.example. 300 IN CNAME boom.example.")
	for _, name := range []string{"boom.example", "chain.example"} {
		for _, network := range []string{"udp", "tcp"} {
			if got := said(d.via(t, network, question(name, dns.TypeA))); got != "SERVFAIL" {
				t.Errorf("%s over %s = %s, want SERVFAIL", name, network, got)
			}
		}
	}
	if got := said(d.ask(t, "open.example", dns.TypeA)); got != "NOERROR | A 203.0.113.1" {
		t.Errorf("the next question = %s", got)
	}
}

type deciderFunc func(policy.Request) policy.Ruling

func (f deciderFunc) Decide(q policy.Request) policy.Ruling { return f(q) }

func TestLookupHost(t *testing.T) {
	d := openDoor(t, rules{"": blocked(policy.Gambling)}, nil,
		"open.example. 300 IN A 203.0.113.1", "open.example. 300 IN AAAA 2001:db8::1",
		"www.example. 300 IN CNAME open.example.", "inside.example. 300 IN A 10.0.0.1")
	for _, tc := range []struct{ host, want string }{
		{"open.example", "[203.0.113.1 2001:db8::1] <nil>"},
		{"www.example", "[203.0.113.1 2001:db8::1] <nil>"},
		{"203.0.113.9", "[203.0.113.9] <nil>"},
		{"gone.example", "[] lookup gone.example: no such host"},
		{"inside.example", "[] lookup inside.example: no such host"}, // T2, T4
		{"localhost", "[] lookup localhost: no such host"},
	} {
		addrs, err := d.LookupHost(t.Context(), tc.host)
		if got := fmt.Sprint(addrs, " ", err); got != tc.want {
			t.Errorf("LookupHost(%s) = %s, want %s", tc.host, got, tc.want)
		}
	}
	if n := d.journal.count.Load(); n != 0 {
		t.Errorf("%d events: a lookup of the proxy is not a pupil's question", n)
	}
}
