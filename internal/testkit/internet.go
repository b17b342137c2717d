package testkit

import (
	"crypto"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// Zone is one zone of an [Internet]. Its SOA, NS and, where it is signed, keys,
// signatures and denials are made for it, and what the zone above it needs to delegate
// it.
type Zone struct {
	Name        string   // such as school.example
	Records     []string // in zone-file form
	Algorithm   uint8    // it is signed with; 0 is unsigned
	NSEC3       bool     // in place of NSEC
	OptOut      bool     // unsigned delegations have no NSEC3
	Iterations  uint16
	Salt        string    // in hex
	Island      bool      // the zone above knows nothing of its keys
	From, Until time.Time // of its signatures; zero is an hour ago and a week ahead
	Digest      uint8     // of its DS; 0 is SHA-256

	ksk, zsk *SigningKey
	sets     map[string]map[uint16][]dns.RR
	sigs     map[string]map[uint16][]dns.RR
	cuts     map[string]bool // delegations
	denials  []dns.RR
}

// SigningKey is a key that signs.
type SigningKey struct {
	*dns.DNSKEY
	private crypto.Signer
}

// NewSigningKey makes one; flags are 257 for a key that signs keys, 256 for the others.
func NewSigningKey(t testing.TB, zone string, algorithm uint8, flags uint16) *SigningKey {
	t.Helper()
	k := &dns.DNSKEY{
		Hdr:   dns.RR_Header{Name: dns.Fqdn(zone), Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET, Ttl: 300},
		Flags: flags, Protocol: 3, Algorithm: algorithm,
	}
	bits := map[uint8]int{dns.RSASHA1: 1024, dns.RSASHA256: 1024, dns.RSASHA512: 1024, dns.ECDSAP256SHA256: 256, dns.ECDSAP384SHA384: 384, dns.ED25519: 256}[algorithm]
	private, err := k.Generate(bits)
	if err != nil {
		t.Fatal(err)
	}
	return &SigningKey{k, private.(crypto.Signer)}
}

// Sign signs a set for a time. change, if not nil, makes the signature say something
// else before it is made.
func (k *SigningKey) Sign(t testing.TB, set []dns.RR, from, until time.Time, change func(*dns.RRSIG)) *dns.RRSIG {
	t.Helper()
	sig := &dns.RRSIG{
		Hdr:       dns.RR_Header{Ttl: set[0].Header().Ttl},
		Algorithm: k.Algorithm, KeyTag: k.KeyTag(), SignerName: k.Hdr.Name,
		Inception: uint32(from.Unix()), Expiration: uint32(until.Unix()),
	}
	if change != nil {
		change(sig)
	}
	if err := sig.Sign(k.private, set); err != nil {
		t.Fatal(err)
	}
	return sig
}

// Internet is a small internet with a signed root, behind one resolver that follows
// chains and validates nothing, with all the proofs that the zones have.
type Internet struct {
	Addr string // set by Serve

	t     testing.TB
	zones map[string]*Zone

	mu     sync.Mutex
	tamper func(q dns.Question, m *dns.Msg)
	asked  map[dns.Question]int
}

// NewInternet makes the zones, from the root down; the root comes first.
func NewInternet(t testing.TB, zones ...*Zone) *Internet {
	t.Helper()
	i := &Internet{t: t, zones: map[string]*Zone{}, asked: map[dns.Question]int{}}
	for _, z := range zones {
		z.Name = strings.ToLower(dns.Fqdn(z.Name))
		i.zones[z.Name] = z
		z.begin(t)
	}
	for _, z := range zones {
		if above := i.zoneAbove(z.Name); z.Name != "." {
			above.delegate(z)
		}
	}
	for _, z := range zones {
		z.finish(t)
	}
	return i
}

// Anchors is what trusts the root.
func (i *Internet) Anchors() []*dns.DS { return []*dns.DS{i.zones["."].ksk.ToDS(dns.SHA256)} }

// Zone gives one of the zones.
func (i *Internet) Zone(name string) *Zone { return i.zones[dns.Fqdn(name)] }

// Tamper has every reply changed before it leaves; nil for none.
func (i *Internet) Tamper(change func(q dns.Question, m *dns.Msg)) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.tamper = change
}

// Asked is how often something was asked for; with type 0, how many questions came.
func (i *Internet) Asked(name string, rrtype uint16) (n int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if rrtype != 0 {
		return i.asked[dns.Question{Name: dns.Fqdn(name), Qtype: rrtype, Qclass: dns.ClassINET}]
	}
	for _, c := range i.asked {
		n += c
	}
	return n
}

// Keys are the zone's keys: the one that signs keys, and the other.
func (z *Zone) Keys() (ksk, zsk *SigningKey) { return z.ksk, z.zsk }

func (z *Zone) begin(t testing.TB) {
	z.sets, z.sigs, z.cuts = map[string]map[uint16][]dns.RR{}, map[string]map[uint16][]dns.RR{}, map[string]bool{}
	if z.From.IsZero() {
		z.From = time.Now().Add(-time.Hour)
	}
	if z.Until.IsZero() {
		z.Until = time.Now().Add(7 * 24 * time.Hour)
	}
	if z.Digest == 0 {
		z.Digest = dns.SHA256
	}
	z.add(mustRR(z.Name + " 300 IN SOA ns.invalid. root.invalid. 1 3600 600 86400 60"))
	z.add(mustRR(z.Name + " 300 IN NS ns.invalid."))
	for _, text := range z.Records {
		rr, err := dns.NewRR(text)
		if err != nil {
			t.Fatalf("record %q: %v", text, err)
		}
		z.add(rr)
		if h := rr.Header(); h.Rrtype == dns.TypeNS && h.Name != z.Name {
			z.cuts[h.Name] = true
		}
	}
	if z.Algorithm == 0 {
		return
	}
	z.ksk, z.zsk = NewSigningKey(t, z.Name, z.Algorithm, 257), NewSigningKey(t, z.Name, z.Algorithm, 256)
	z.add(z.ksk.DNSKEY)
	z.add(z.zsk.DNSKEY)
}

func (z *Zone) add(rr dns.RR) {
	h := rr.Header()
	h.Name = strings.ToLower(h.Name)
	if z.sets[h.Name] == nil {
		z.sets[h.Name] = map[uint16][]dns.RR{}
	}
	z.sets[h.Name][h.Rrtype] = append(z.sets[h.Name][h.Rrtype], rr)
}

func (z *Zone) delegate(child *Zone) {
	z.cuts[child.Name] = true
	z.add(mustRR(child.Name + " 300 IN NS ns.invalid."))
	if child.ksk != nil && !child.Island {
		z.add(child.ksk.ToDS(child.Digest))
	}
}

// finish makes denials and signatures.
func (z *Zone) finish(t testing.TB) {
	if z.Algorithm == 0 {
		return
	}
	if z.NSEC3 {
		z.hashNames()
	} else {
		z.orderNames()
	}
	for _, rr := range z.denials {
		z.add(rr)
	}
	for name, types := range z.sets {
		z.sigs[name] = map[uint16][]dns.RR{}
		for rrtype, set := range types {
			if z.cuts[name] && rrtype == dns.TypeNS {
				continue
			}
			key := z.zsk
			if rrtype == dns.TypeDNSKEY {
				key = z.ksk
			}
			z.sigs[name][rrtype] = []dns.RR{key.Sign(t, set, z.From, z.Until, nil)}
		}
	}
}

func nameAbove(name string) string {
	_, rest, _ := strings.Cut(name, ".")
	if rest == "" {
		return "."
	}
	return rest
}

func (i *Internet) zoneOf(name string) *Zone {
	for n := name; ; n = nameAbove(n) {
		if z := i.zones[n]; z != nil {
			return z
		}
	}
}

func (i *Internet) zoneAbove(name string) *Zone { return i.zoneOf(nameAbove(name)) }

// Reply is what the resolver says, tampered with as told.
func (i *Internet) Reply(name string, rrtype uint16) *dns.Msg {
	m := i.Honest(name, rrtype)
	i.mu.Lock()
	i.asked[m.Question[0]]++
	tamper := i.tamper
	i.mu.Unlock()
	if tamper != nil {
		tamper(m.Question[0], m)
	}
	return m
}

// Set is a set of the zone with its signatures, as it stands.
func (z *Zone) Set(owner string, rrtype uint16) (section []dns.RR) {
	owner = strings.ToLower(dns.Fqdn(owner))
	z.put(&section, owner, rrtype, owner)
	return section
}

// Honest is what the resolver says if nobody tampers with it.
func (i *Internet) Honest(name string, rrtype uint16) *dns.Msg {
	name = strings.ToLower(dns.Fqdn(name))
	m := new(dns.Msg).SetQuestion(name, rrtype)
	m.Response, m.RecursionAvailable = true, true
	for range 20 {
		z := i.zoneOf(name)
		if rrtype == dns.TypeDS && name == z.Name && name != "." {
			z = i.zoneAbove(name)
		}
		if name = z.answer(m, name, rrtype); name == "" {
			break
		}
	}
	return m
}

// answer adds what the zone has to say; next is where a chain leads out of it, or on.
func (z *Zone) answer(m *dns.Msg, name string, rrtype uint16) (next string) {
	owner := name
	if !z.exists(name) {
		if target, ok := z.dname(m, name); ok {
			return target
		}
		encloser := z.encloser(name)
		if owner = "*." + strings.TrimPrefix(encloser, "."); z.sets[owner] == nil {
			m.Rcode = dns.RcodeNameError
			z.nothing(m, name, encloser, owner)
			return ""
		}
		if z.NSEC3 {
			z.deny(m, suffixOf(name, dns.CountLabel(encloser)+1))
		} else {
			z.deny(m, name)
		}
	} else if target, ok := z.dname(m, name); ok {
		return target
	}
	types := z.sets[owner]
	switch {
	case types[rrtype] != nil && !(z.cuts[owner] && rrtype != dns.TypeDS && rrtype != dns.TypeNSEC):
		z.put(&m.Answer, owner, rrtype, name)
	case types[dns.TypeCNAME] != nil:
		z.put(&m.Answer, owner, dns.TypeCNAME, name)
		return strings.ToLower(types[dns.TypeCNAME][0].(*dns.CNAME).Target)
	default:
		z.put(&m.Ns, z.Name, dns.TypeSOA, z.Name)
		if owner != name {
			z.match(m, z.encloser(name))
		}
		z.match(m, owner)
	}
	return ""
}

// dname follows a DNAME above the name.
func (z *Zone) dname(m *dns.Msg, name string) (target string, ok bool) {
	for n := nameAbove(name); dns.IsSubDomain(z.Name, n) && n != "."; n = nameAbove(n) {
		if set := z.sets[n][dns.TypeDNAME]; set != nil {
			z.put(&m.Answer, n, dns.TypeDNAME, n)
			target = strings.TrimSuffix(name, n) + set[0].(*dns.DNAME).Target
			m.Answer = append(m.Answer, mustRR(name+" 300 IN CNAME "+target))
			return target, true
		}
	}
	return "", false
}

// put adds a set and its signatures under a name.
func (z *Zone) put(section *[]dns.RR, owner string, rrtype uint16, name string) {
	for _, rr := range append(slices.Clone(z.sets[owner][rrtype]), z.sigs[owner][rrtype]...) {
		c := dns.Copy(rr)
		c.Header().Name = name
		if !slices.ContainsFunc(*section, func(have dns.RR) bool { return dns.IsDuplicate(have, c) }) {
			*section = append(*section, c)
		}
	}
}

// exists reports whether the name has records, or has names below it that do.
func (z *Zone) exists(name string) bool {
	if z.sets[name] != nil {
		return true
	}
	for n := range z.sets {
		if dns.IsSubDomain(name, n) {
			if _, isHash := z.sets[n][dns.TypeNSEC3]; !isHash {
				return true
			}
		}
	}
	return false
}

// Serve starts the resolver on a real port, UDP and TCP.
func (i *Internet) Serve() {
	i.t.Helper()
	pc, l := listenBoth(i.t)
	i.Addr = pc.LocalAddr().String()
	var serving sync.WaitGroup
	i.t.Cleanup(serving.Wait) // after what is registered later
	for _, s := range []*dns.Server{
		{PacketConn: pc, Handler: dns.HandlerFunc(i.serve), UDPSize: 4096},
		{Listener: l, Handler: dns.HandlerFunc(i.serve)},
	} {
		started := make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		serving.Go(func() { _ = s.ActivateAndServe() })
		<-started
		i.t.Cleanup(func() { _ = s.Shutdown() })
	}
}

func (i *Internet) serve(w dns.ResponseWriter, q *dns.Msg) {
	if len(q.Question) != 1 {
		return
	}
	m := i.Reply(q.Question[0].Name, q.Question[0].Qtype)
	m.Id, m.RecursionDesired, m.CheckingDisabled, m.Question = q.Id, q.RecursionDesired, q.CheckingDisabled, q.Question
	m.Compress = true
	opt := q.IsEdns0()
	if opt == nil || !opt.Do() {
		signed := func(rr dns.RR) bool {
			t := rr.Header().Rrtype
			return t != q.Question[0].Qtype && (t == dns.TypeRRSIG || t == dns.TypeNSEC || t == dns.TypeNSEC3)
		}
		m.Answer, m.Ns = slices.DeleteFunc(m.Answer, signed), slices.DeleteFunc(m.Ns, signed)
	}
	if opt != nil {
		m.SetEdns0(1232, opt.Do())
	}
	if _, stream := w.RemoteAddr().(*net.TCPAddr); !stream {
		size := dns.MinMsgSize
		if opt != nil {
			size = int(opt.UDPSize())
		}
		m.Truncate(size)
	}
	_ = w.WriteMsg(m) // a test that cares sees that nothing came
}
