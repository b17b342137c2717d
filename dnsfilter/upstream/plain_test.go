package upstream

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

// packReply packs an answer to www.example as an upstream would send it.
func packReply(t testing.TB, compress bool, change func(*dns.Msg), records ...string) []byte {
	t.Helper()
	m := new(dns.Msg).SetQuestion("wWw.ExAmPlE.", dns.TypeA)
	m.Response, m.Compress = true, compress
	m.SetEdns0(1232, false)
	for _, text := range records {
		rr, err := dns.NewRR(text)
		if err != nil {
			t.Fatal(err)
		}
		if rr.Header().Rrtype == dns.TypeSOA || rr.Header().Rrtype == dns.TypeNS {
			m.Ns = append(m.Ns, rr)
		} else {
			m.Answer = append(m.Answer, rr)
		}
	}
	if change != nil {
		change(m)
	}
	wire, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return wire
}

func plainResolver(t testing.TB) *Resolver {
	t.Helper()
	r, err := New(Config{Servers: []string{"192.0.2.53"}, TrustAD: true, CacheBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

const soa = "example. 300 IN SOA ns.Example. root.example. 1 3600 600 86400 60"

// A usual reply is read in place, and only a usual one; what comes of it is what
// the long way would have made.
func TestPlain(t *testing.T) {
	r := plainResolver(t)
	for _, tc := range []struct {
		promise string
		change  func(*dns.Msg)
		records []string
		want    string // "" is the long way
	}{
		{"an address", nil, []string{"www.example. 300 IN A 203.0.113.1"}, "NOERROR | www.example. A 203.0.113.1"},
		{"two, with the servers of the zone", nil, []string{"www.example. 300 IN A 203.0.113.1", "WWW.example. 300 IN A 203.0.113.2", "example. 300 IN NS ns.example."},
			"NOERROR | www.example. A 203.0.113.1 | www.example. A 203.0.113.2"},
		{"a chain", nil, []string{"www.example. 300 IN CNAME a.b.example.", "a.b.example. 30 IN CNAME cdn.test.", "cdn.test. 60 IN A 203.0.113.1"},
			"NOERROR | www.example. CNAME a.b.example. | a.b.example. CNAME cdn.test. | cdn.test. A 203.0.113.1"},
		{"authentic", func(m *dns.Msg) { m.AuthenticatedData = true }, []string{"www.example. 300 IN A 203.0.113.1"}, "NOERROR | www.example. A 203.0.113.1 AD"},
		{"no such name", func(m *dns.Msg) { m.Rcode = dns.RcodeNameError }, []string{soa}, "NXDOMAIN +SOA"},
		{"no such type", nil, []string{soa}, "NOERROR +SOA"},
		{"a chain to nothing", func(m *dns.Msg) { m.Rcode = dns.RcodeNameError }, []string{"www.example. 300 IN CNAME gone.example.", soa}, "NXDOMAIN | www.example. CNAME gone.example. +SOA"},
		{"a TTL beyond reason", nil, []string{"www.example. 4000000000 IN A 203.0.113.1"}, "NOERROR | www.example. A 203.0.113.1"},
		{"a private address", nil, []string{"www.example. 300 IN A 10.0.0.1"}, ""},
		{"a record nobody asked for", nil, []string{"bank.example. 300 IN A 203.0.113.1"}, ""},
		{"a chain out of order", nil, []string{"a.example. 300 IN A 203.0.113.1", "www.example. 300 IN CNAME a.example."}, ""},
		{"a loop", nil, []string{"www.example. 300 IN CNAME a.example.", "a.example. 300 IN CNAME www.example."}, ""},
		{"half a chain", nil, []string{"www.example. 300 IN CNAME a.example."}, ""},
		{"two CNAMEs", nil, []string{"www.example. 300 IN CNAME a.example.", "www.example. 300 IN CNAME b.example."}, ""},
		{"a DNAME", nil, []string{"example. 300 IN DNAME b.test.", "www.example. 300 IN CNAME www.b.test.", "www.b.test. 300 IN A 203.0.113.1"}, ""},
		{"another class", nil, []string{"www.example. 300 CH A 203.0.113.1"}, ""},
		{"an SOA of somebody else", nil, []string{strings.Replace(soa, "example. 300", "other. 300", 1)}, ""},
		{"nothing at all", nil, nil, ""},
		{"truncated", func(m *dns.Msg) { m.Truncated = true }, []string{"www.example. 300 IN A 203.0.113.1"}, ""},
		{"SERVFAIL", func(m *dns.Msg) { m.Rcode = dns.RcodeServerFailure }, []string{soa}, ""},
		{"a code that goes on in the OPT record", func(m *dns.Msg) { m.Rcode = dns.RcodeBadVers }, []string{"www.example. 300 IN A 203.0.113.1"}, ""},
		{"an address where there is none", func(m *dns.Msg) { m.Rcode = dns.RcodeNameError }, []string{"www.example. 300 IN A 203.0.113.1"}, ""},
	} {
		for _, compress := range []bool{false, true} {
			got := samePlain(t, r, packReply(t, compress, tc.change, tc.records...))
			if got != tc.want {
				t.Errorf("%s: read in place as %q, want %q", tc.promise, got, tc.want)
			}
		}
	}
	wire := packReply(t, true, nil, "www.example. 300 IN A 203.0.113.1")
	if got := samePlain(t, r, append(slices.Clone(wire), 0)); got != "" {
		t.Errorf("bytes after the end: read as %q", got)
	}
	for n := range wire {
		if got := samePlain(t, r, wire[:n]); got != "" {
			t.Errorf("%d of %d bytes: read as %q", n, len(wire), got)
		}
	}
}

// samePlain reads a reply in place and holds that against the long way.
func samePlain(t *testing.T, r *Resolver, wire []byte) string {
	t.Helper()
	name, _ := WireName("www.example")
	q := Question{Name: name, Type: dns.TypeA}
	key := q.appendKey(nil)
	p := r.readers.Get().(*plainReader) // one that has read other replies before
	defer r.readers.Put(p)
	e, ok := r.readPlain(p, string(key), q, wire)
	if !ok {
		return ""
	}
	m, err := unpack(wire)
	if err != nil {
		t.Fatalf("read in place, but it does not unpack: %v", err)
	}
	v, err := vet(m, "www.example.", q, r.limits)
	if err != nil || v.unfinished(q) || v.flags&flagPrivate != 0 {
		t.Fatalf("read in place, but vet says %v, %+v", err, v)
	}
	long, err := r.finish(key, q, v)
	if err != nil {
		t.Fatal(err)
	}
	view := func(e entry) []string {
		a := Answer{e: e, now: e.stored()}
		text := read(t, &a, q)
		records := strings.Split(strings.ToLower(text), " | ")
		slices.Sort(records)
		var chain []string
		for n := range a.Chain() {
			chain = append(chain, strings.ToLower(string(n)))
		}
		return append(append(slices.Compact(records), chain...), fmt.Sprint(e.expires()-e.stored(), " seconds"))
	}
	if diff := cmp.Diff(view(long), view(e)); diff != "" {
		t.Fatalf("in place is not what the long way makes of it: -long +in place\n%s", diff)
	}
	a := Answer{e: e, now: e.stored()}
	return read(t, &a, q)
}

// FuzzPlain: whatever is read in place is what the long way makes of it.
func FuzzPlain(f *testing.F) {
	f.Add(packReply(f, true, nil, "www.example. 300 IN CNAME a.b.example.", "a.b.example. 30 IN A 203.0.113.1")[17+4+8:])
	f.Add(packReply(f, false, nil, soa)[17+4+8:])
	r := plainResolver(f)
	head := packReply(f, true, nil)[:headerLen+len("\x03www\x07example\x00")+4]
	f.Fuzz(func(t *testing.T, rest []byte) {
		if len(rest) < 8 {
			return
		}
		wire := append(slices.Clone(head), rest[8:]...)
		wire[3], wire[7], wire[9], wire[11] = rest[0]&3, rest[1]&15, rest[2]&7, rest[3]&3
		samePlain(t, r, wire)
	})
}
