package dnsfilter

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"schoolgate/internal/testkit"
	"schoolgate/policy"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func secretOf(t testing.TB, s string) [2]uint64 {
	b := unhex(t, s)
	return [2]uint64{binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])}
}

// The vectors of RFC 9018, appendix A.
func TestCookieVectors(t *testing.T) {
	const one, two, three = "e5e973e5a6b2a43f48e7dc849e37bfcf", "445536bcd2513298075a5d379663c962", "dd3bdf9344b678b185a6f5cb60fca715"
	for _, tc := range []struct {
		promise     string
		now, before string
		sent, from  string
		at          int64
		want        string
		good        bool
	}{
		{"A.1 a new one", one, two, "2464c4abcf10c957", "198.51.100.100", 1559731985, "2464c4abcf10c957010000005cf79f111f8130c3eee29480", false},
		{"A.2 young: the same", one, two, "2464c4abcf10c957010000005cf79f111f8130c3eee29480", "198.51.100.100", 1559734385 - 1000, "2464c4abcf10c957010000005cf79f111f8130c3eee29480", true},
		{"A.2 old: renewed", one, two, "2464c4abcf10c957010000005cf79f111f8130c3eee29480", "198.51.100.100", 1559734385, "2464c4abcf10c957010000005cf7a871d4a564a1442aca77", true},
		{"A.3 other reserved bits", one, two, "fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5", "203.0.113.203", 1559728000, "fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5", true},
		{"A.4 of the secret before", two, three, "22681ab97d52c298010000005cf7c57926556bd0934c72f8", "2001:db8:220:1:59de:d0f4:8769:82b8", 1559741961, "22681ab97d52c298010000005cf7c609a6bb79d16625507a", true},
	} {
		var c cookies
		at := time.Unix(tc.at, 0)
		c.secrets.Store(&secrets{now: secretOf(t, tc.now), before: secretOf(t, tc.before), since: at})
		back, good := c.answer(unhex(t, tc.sent), netip.MustParseAddr(tc.from), at)
		if got := hex.EncodeToString(back[:]); got != tc.want || good != tc.good {
			t.Errorf("%s: %s, %t; want %s, %t", tc.promise, got, good, tc.want, tc.good)
		}
	}
}

// A cookie is good for an hour, from one address, and over one change of secrets.
func TestCookieLife(t *testing.T) {
	var c cookies
	now, from := time.Unix(1_800_000_000, 0), netip.MustParseAddr("10.0.0.7")
	back, _ := c.answer(unhex(t, "0102030405060708"), from, now)
	for _, tc := range []struct {
		promise string
		change  func(*[24]byte)
		from    string
		after   time.Duration
		want    bool
	}{
		{"at once", nil, "10.0.0.7", 0, true},
		{"within the hour", nil, "10.0.0.7", time.Hour, true},
		{"after it", nil, "10.0.0.7", time.Hour + time.Second, false},
		{"from the future", nil, "10.0.0.7", -6 * time.Minute, false},
		{"from another address", nil, "10.0.0.8", 0, false},
		{"with another client's half", func(b *[24]byte) { b[0]++ }, "10.0.0.7", 0, false},
		{"with another hash", func(b *[24]byte) { b[23]++ }, "10.0.0.7", 0, false},
		{"of another version", func(b *[24]byte) { b[8] = 2 }, "10.0.0.7", 0, false},
	} {
		sent := back
		if tc.change != nil {
			tc.change(&sent)
		}
		if _, good := c.answer(sent[:], netip.MustParseAddr(tc.from), now.Add(tc.after)); good != tc.want {
			t.Errorf("%s: good %t, want %t", tc.promise, good, tc.want)
		}
	}
	late := now.Add(secretLife - time.Minute)
	back, _ = c.answer(unhex(t, "0102030405060708"), from, late)
	fresh, good := c.answer(back[:], from, late.Add(2*time.Minute))
	if !good || fresh == back {
		t.Errorf("after the secret changed: good %t, the same %t; want a good one renewed", good, fresh == back)
	}
}

func cookieOf(m *dns.Msg) string {
	if opt := m.IsEdns0(); opt != nil {
		for _, o := range opt.Option {
			if c, ok := o.(*dns.EDNS0_COOKIE); ok {
				return c.Cookie
			}
		}
	}
	return ""
}

// Cookies on the wire, one by one (RFC 7873 5.2 and 5.4).
func TestCookies(t *testing.T) {
	d := openDoor(t, rules{"": allowed(), "casino.example": blocked(policy.Gambling)}, nil, "open.example. 300 IN A 203.0.113.1")
	const ours = "0123456789abcdef"
	with := func(name, cookie string) *dns.Msg {
		m := question(name, dns.TypeA)
		m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: cookie})
		if name == "" {
			m.Question = nil
		}
		return m
	}
	good := cookieOf(d.send(t, with("open.example", ours)))
	if len(good) != 48 || !strings.HasPrefix(good, ours) {
		t.Fatalf("the first cookie = %q, want the client's half and 16 bytes of ours", good)
	}
	bad := good[:47] + string("0123456789abcdef"[(strings.IndexByte("0123456789abcdef", good[47])+1)%16])
	for _, tc := range []struct {
		promise, name, sent string
		rcode               int
		back                bool
	}{
		{"a good one", "open.example", good, dns.RcodeSuccess, true},
		{"with a refusal", "casino.example", good, dns.RcodeSuccess, true},
		{"a bad one is no offence", "open.example", bad, dns.RcodeSuccess, true},
		{"nor is one of another server's length", "open.example", ours + strings.Repeat("ab", 32), dns.RcodeSuccess, true},
		{"too short", "open.example", ours[:14], dns.RcodeFormatError, false},
		{"between the lengths", "open.example", ours + "ab", dns.RcodeFormatError, false},
		{"too long", "open.example", ours + strings.Repeat("ab", 33), dns.RcodeFormatError, false},
		{"no question, the client's half", "", ours, dns.RcodeSuccess, true},
		{"no question, a good one", "", good, dns.RcodeSuccess, true},
		{"no question, a bad one", "", bad, dns.RcodeBadCookie, true},
	} {
		for _, network := range []string{"udp", "tcp"} {
			r := testkit.Ask(t, network, d.addr, with(tc.name, tc.sent))
			if r == nil {
				t.Errorf("%s over %s: no answer", tc.promise, network)
				continue
			}
			back := cookieOf(r)
			if r.Rcode != tc.rcode || (back != "") != tc.back || tc.back && !strings.HasPrefix(back, ours) {
				t.Errorf("%s over %s: %s with cookie %q", tc.promise, network, dns.RcodeToString[r.Rcode], back)
			}
			if tc.name == "" && len(r.Question)+len(r.Answer)+len(r.Ns) > 0 {
				t.Errorf("%s over %s: %v", tc.promise, network, r)
			}
		}
	}
	m := new(dns.Msg).SetQuestion("open.example.", dns.TypeA)
	if r := d.send(t, m); r.IsEdns0() != nil {
		t.Error("a client without EDNS got an OPT record")
	}
	if r := d.ask(t, "open.example", dns.TypeA); cookieOf(r) != "" {
		t.Error("a client without a cookie got one")
	}
}
