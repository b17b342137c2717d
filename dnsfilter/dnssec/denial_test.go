package dnssec

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"schoolgate/internal/testkit"
)

// A model is a zone that knows what is true of it. Names are of the labels a, b, c
// and *, so that they meet.
type model struct {
	t     testing.TB
	zone  *testkit.Zone
	types map[string][]uint16
}

const apex = "z.test."

func newModel(t testing.TB, r *rand.Rand, nsec3, optOut bool) *model {
	m := &model{t: t, types: map[string][]uint16{apex: {dns.TypeSOA, dns.TypeNS}}}
	z := &testkit.Zone{Name: apex, Algorithm: dns.ED25519, NSEC3: nsec3, OptOut: optOut, Iterations: uint16(r.IntN(3))}
	for range 1 + r.IntN(6) {
		name := randomName(r, r.IntN(3))
		if m.types[name] != nil || m.cutAbove(name) != "" {
			continue
		}
		switch kind := r.IntN(6); {
		case kind == 0 && !strings.HasPrefix(name, "*") && !m.hasBelow(name):
			m.types[name] = []uint16{dns.TypeNS}
			z.Records = append(z.Records, name+" 60 IN NS ns.invalid.")
		case kind == 1 && !strings.HasPrefix(name, "*") && !m.hasBelow(name):
			m.types[name] = []uint16{dns.TypeNS, dns.TypeDS}
			z.Records = append(z.Records, name+" 60 IN NS ns.invalid.", name+" 60 IN DS 1 15 2 AA")
		case kind == 2:
			m.types[name] = []uint16{dns.TypeCNAME}
			z.Records = append(z.Records, name+" 60 IN CNAME x.invalid.")
		case kind == 3 && !strings.HasPrefix(name, "*") && !m.hasBelow(name):
			m.types[name] = []uint16{dns.TypeDNAME}
			z.Records = append(z.Records, name+" 60 IN DNAME x.invalid.")
		default:
			m.types[name] = []uint16{dns.TypeA}
			z.Records = append(z.Records, name+" 60 IN A 203.0.113.1")
		}
	}
	testkit.NewInternet(t, &testkit.Zone{Name: ".", Algorithm: dns.ED25519}, z)
	m.zone = z
	return m
}

func randomName(r *rand.Rand, more int) string {
	name := apex
	for range 1 + more {
		name = []string{"a", "b", "c", "*"}[r.IntN(4)] + "." + name
	}
	return name
}

// cutAbove is the delegation or DNAME that a name lies below, "" if there is none.
func (m *model) cutAbove(name string) string {
	for n := name; n != apex; {
		n = parent(n)
		if has(m.types[n], dns.TypeDNAME) || has(m.types[n], dns.TypeNS) && n != apex {
			return n
		}
	}
	return ""
}

func (m *model) hasBelow(name string) bool {
	for n := range m.types {
		if below(name, n) {
			return true
		}
	}
	return false
}

func (m *model) exists(name string) bool { return m.types[name] != nil || m.hasBelow(name) }

func (m *model) encloser(name string) string {
	for n := parent(name); ; n = parent(n) {
		if m.exists(n) {
			return n
		}
	}
}

// hidden reports whether a zone that opted out says nothing of the name: it is an
// unsigned delegation, or only such lie below it.
func (m *model) hidden(name string) bool {
	if !m.zone.OptOut {
		return false
	}
	for n, types := range m.types {
		if encloses(name, n) && !(has(types, dns.TypeNS) && !has(types, dns.TypeDS) && n != apex) {
			return false
		}
	}
	return true
}

func (m *model) denial(records []dns.RR) *denial {
	d := &denial{zone: apex}
	for _, rr := range records {
		d.add(&set{rrs: []dns.RR{rr}})
	}
	return d
}

// Whatever of a zone's denials are put before us, in all zones: what we take for proven
// is true; and with all of them, what is true is proven.
func TestDenialsAgainstModel(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(7, 8))
	proofs := map[string]int{}
	for range 120 {
		m := newModel(t, r, r.IntN(3) > 0, r.IntN(2) == 0)
		all := m.zone.Denials()
		for range 60 {
			name := randomName(r, r.IntN(4))
			rrtype := []uint16{dns.TypeA, dns.TypeMX, dns.TypeDS, dns.TypeCNAME, dns.TypeNS}[r.IntN(5)]
			some := slices.DeleteFunc(slices.Clone(all), func(dns.RR) bool { return r.IntN(3) == 0 })
			whole := r.IntN(3) == 0
			if whole {
				some = all
			}
			r.Shuffle(len(some), func(i, j int) { some[i], some[j] = some[j], some[i] })
			m.check(m.denial(some), name, rrtype, whole, proofs)
		}
	}
	for _, kind := range []string{"noData proven", "noData opted out", "noName proven", "noName opted out", "noCloser proven", "noCloser opted out", "noDS unsigned", "noDS noCut"} {
		if proofs[kind] < 25 {
			t.Errorf("%s was seen %d times only", kind, proofs[kind])
		}
	}
}

func (m *model) check(d *denial, name string, rrtype uint16, whole bool, proofs map[string]int) {
	m.t.Helper()
	b := &Budget{hashes: 1000}
	fault := func(what string, got, want any) {
		m.t.Fatalf("zone %v, NSEC3 %t, opt-out %t, all %t: %s(%s %s) = %v, want %v", m.types, m.zone.NSEC3, m.zone.OptOut, whole, what, name, dns.TypeToString[rrtype], got, want)
	}
	note := func(what string, p proof) {
		if p != unproven {
			proofs[what+map[proof]string{proven: " proven", optedOut: " opted out"}[p]]++
		}
	}
	cut, exists := m.cutAbove(name), m.exists(name)
	star, starred := "", []uint16(nil)
	encloser := apex
	if !exists && cut == "" {
		encloser = m.encloser(name)
		star = "*." + encloser
		starred = m.types[star]
	}
	hidden := exists && m.hidden(name)

	// There is no such name.
	absent := cut == "" && !exists && (starred == nil && !m.exists(star))
	p, err := d.noName(name, b)
	if err != nil {
		m.t.Fatal(err)
	}
	note("noName", p)
	switch {
	case p == proven && !absent:
		fault("noName", "proven", "not, for it is")
	case p == optedOut && !(m.zone.OptOut && cut == "" && (absent || hidden || !exists && starred == nil && m.hidden(star))) && !(cut != "" && m.hidden(cut)):
		fault("noName", "opted out", "not, for it is signed")
	case whole && absent && !m.hidden(encloser) && p == unproven:
		fault("noName", "unproven", "proven")
	}

	// It has no such type.
	types := m.types[name]
	if !exists && starred != nil {
		types = starred
	}
	lacking := cut == "" && (exists || starred != nil || star != "" && m.exists(star)) && !has(types, rrtype) && !has(types, dns.TypeCNAME)
	if has(types, dns.TypeNS) && name != apex && rrtype != dns.TypeDS {
		lacking = false // that is for the zone below to say
	}
	p, err = d.noData(name, rrtype, b)
	if err != nil {
		m.t.Fatal(err)
	}
	note("noData", p)
	switch {
	case p == proven && !lacking:
		fault("noData", "proven", "not, for it has")
	case p == optedOut && !(m.zone.OptOut && cut == "" && (!exists || hidden)) && !(cut != "" && m.hidden(cut)):
		fault("noData", "opted out", "not, for it is signed")
	case whole && lacking && !(star != "" && !exists && starred == nil) && p == unproven:
		fault("noData", "unproven", "proven")
	}

	// The wildcard stands for it.
	for _, at := range []string{apex, parent(name), encloser} {
		if !below(at, name) || m.cutAbove("x."+at) != "" { // there is no such wildcard in this zone
			continue
		}
		p, err = d.noCloser(name, at, b)
		if err != nil {
			m.t.Fatal(err)
		}
		note("noCloser", p)
		stands := cut == "" && !exists && encloser == at
		// From the apex down to below at nothing exists; that at exists, its wildcard shows.
		closer := cut == "" && !m.exists(suffix(name, dns.CountLabel(at)+1))
		switch {
		case p == proven && !closer:
			fault("noCloser "+at, "proven", "not, for there is something nearer")
		case p == optedOut && !(m.zone.OptOut && (closer || m.hidden(suffix(name, dns.CountLabel(at)+1)))):
			fault("noCloser "+at, "opted out", "not, for it is signed")
		case whole && stands && !m.hidden(encloser) && p == unproven:
			fault("noCloser "+at, "unproven", "proven")
		}
	}

	// No signed zone begins there.
	if cut != "" {
		return // nobody asks this zone
	}
	what, err := d.noDS(name, b)
	if err != nil {
		m.t.Fatal(err)
	}
	isCut := has(m.types[name], dns.TypeNS) && name != apex
	signed := isCut && has(m.types[name], dns.TypeDS)
	switch {
	case what == unsigned && signed, what == unsigned && !isCut && !(m.zone.OptOut && (!exists || hidden)):
		fault("noDS", "unsigned", "not")
	case what == noCut && isCut:
		fault("noDS", "no cut", "not")
	case whole && !signed && name != apex && what == unknown:
		fault("noDS", "unknown", "known")
	case what == unsigned:
		proofs["noDS unsigned"]++
	case what == noCut:
		proofs["noDS noCut"]++
	}
}

// The order of names is that of RFC 4034 section 6.1.
func TestCompare(t *testing.T) {
	ordered := []string{"example.", "a.example.", "yljkjljk.a.example.", "z.a.example.", "zabc.a.example.", "z.example.", `\001.z.example.`, "*.z.example.", `\200.z.example.`}
	for i, a := range ordered {
		for j, b := range ordered {
			got, ok := compare(a, b)
			if !ok || sign(got) != sign(i-j) {
				t.Errorf("compare(%s, %s) = %d, %t, want %d", a, b, got, ok, sign(i-j))
			}
		}
	}
	if _, ok := compare("a..example.", "b."); ok {
		t.Error("compare takes what is no name")
	}
	if _, ok := compare(wildcard(strings.Repeat(strings.Repeat("x", 63)+".", 3)+strings.Repeat("x", 61)+"."), "a."); ok {
		t.Error("compare takes a wildcard that there is no room for")
	}
}

func sign(n int) int {
	switch {
	case n < 0:
		return -1
	case n > 0:
		return 1
	}
	return 0
}

var questions = []struct {
	name   string
	rrtype uint16
}{
	{"www.school.example", dns.TypeA}, {"www.school.example", dns.TypeTXT}, {"nobody.school.example", dns.TypeA}, {"any.w.school.example", dns.TypeA},
	{"alias.school.example", dns.TypeA}, {"www.d.school.example", dns.TypeA}, {"nobody.signed.test", dns.TypeA}, {"www.signed.test", dns.TypeMX},
	{"any.w.signed.test", dns.TypeMX}, {"mail.school.example", dns.TypeMX}, {"plain.example", dns.TypeDS}, {"gone.school.example", dns.TypeA},
}

// judgeBytes judges a reply as bytes, and fails the test if it is taken for secure and
// is not what the owner of the name says.
func judgeBytes(t *testing.T, v *Validator, i *testkit.Internet, which int, wire []byte) {
	t.Helper()
	q := questions[which%len(questions)]
	m := new(dns.Msg)
	if err := m.Unpack(wire); err != nil {
		return
	}
	honest := i.Honest(q.name, q.rrtype)
	m.Question = honest.Question
	verdict, err := v.Judge(t.Context(), m, false, NewBudget())
	if err != nil {
		t.Fatal(err)
	}
	if verdict.Status != Secure {
		return
	}
	got, want := onChain(m, honest), onChain(honest, honest)
	if !slices.Equal(got, want) || m.Rcode != honest.Rcode {
		t.Fatalf("%s %s: taken for secure, rcode %d:\n%s\nwant rcode %d:\n%s", q.name, dns.TypeToString[q.rrtype], m.Rcode, strings.Join(got, "\n"), honest.Rcode, strings.Join(want, "\n"))
	}
}

// onChain is the records of a reply that answer the question, without TTLs and with
// names as they are signed.
func onChain(m, honest *dns.Msg) (records []string) {
	owners := []string{honest.Question[0].Name}
	for _, rr := range honest.Answer {
		if c, ok := rr.(*dns.CNAME); ok {
			owners = append(owners, canon(c.Target))
		}
	}
	for _, rr := range m.Answer {
		t := rr.Header().Rrtype
		if t != dns.TypeCNAME && t != honest.Question[0].Qtype || !slices.Contains(owners, canon(rr.Header().Name)) || rr.Header().Class != dns.ClassINET {
			continue
		}
		c := dns.Copy(rr)
		c.Header().Ttl = 0
		text := c.String()
		if t != dns.TypeTXT {
			text = strings.ToLower(text)
		}
		records = append(records, text)
	}
	slices.Sort(records)
	return slices.Compact(records)
}

func packed(t testing.TB, m *dns.Msg) []byte {
	t.Helper()
	m.Compress = true
	wire, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return wire
}

// No byte of a reply can be changed so that it says something else and is taken for
// secure.
func TestEveryByte(t *testing.T) {
	t.Parallel()
	i := internet(t)
	v := newValidator(t, i, nil)
	for which, q := range questions {
		wire := packed(t, i.Honest(q.name, q.rrtype))
		judgeBytes(t, v, i, which, wire)
		for at := 2; at < len(wire); at++ {
			changed := slices.Clone(wire)
			changed[at] ^= byte(1 + at%255)
			judgeBytes(t, v, i, which, changed)
		}
	}
}

// FuzzJudge: no reply makes the validator fail, and none that says something else than
// the owner of the name is taken for secure. (TestEveryByte is the part of it that is
// run every time.)
func FuzzJudge(f *testing.F) {
	i := internet(f)
	v := newValidator(f, i, nil)
	for which, q := range questions {
		f.Add(which, packed(f, i.Honest(q.name, q.rrtype)))
	}
	f.Fuzz(func(t *testing.T, which int, wire []byte) {
		if which < 0 {
			return
		}
		judgeBytes(t, v, i, which, wire)
	})
}

// Budgets: what a step spends is taken from the question it was made for, without debt.
func TestCharge(t *testing.T) {
	b, step := NewBudget(), stepBudget()
	step.checks -= 5
	step.failures--
	b.charge(step)
	if want := (Budget{maxLookups, maxChecks - 5, maxFailures - 1, maxHashes}); *b != want {
		t.Errorf("after a step: %+v, want %+v", *b, want)
	}
	b.checks = 2
	b.charge(step)
	if b.checks != 0 || b.check() == nil {
		t.Errorf("after a step that was too much: %+v, want nothing left", *b)
	}
	for what, use := range map[string]func() error{"lookups": b.lookup, "hashes": b.hash, "failures": b.failed} {
		var err error
		for range 1000 {
			err = use()
		}
		if f := (*Fault)(nil); !bounded(err) || !strings.Contains(fmt.Sprint(err), "more than") {
			t.Errorf("%s without end: %v, %v", what, err, f)
		}
	}
}
