package testkit

import (
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// Lie is a way for an upstream to be wrong.
type Lie int

// The lies.
const (
	Honest       Lie = iota
	WrongID          // replies carry another ID
	WrongName        // replies answer another question
	Unasked          // replies hold records nobody asked for
	Private          // every address is 192.168.0.1 or fd00::1
	Loop             // every name is a CNAME of a name that is a CNAME of it
	LongChain        // every name is a CNAME of another, without end
	Oversize         // replies of 9,000 bytes over UDP
	TruncateUDP      // TC over UDP, the answer over TCP
	TruncateAll      // TC everywhere
	Slow             // answers when Release is called
	ServFail         // SERVFAIL
	RefuseAll        // REFUSED
	Silent           // no answer
	Garbage          // bytes that are no message
	NoEDNS           // FORMERR to any query with EDNS
	LowerCase        // the question comes back in lower case
	HalfOpenTCP      // TC over UDP; TCP accepts and says nothing
	BareFormErr      // a header with FORMERR, without the question
	SpoofThenAns     // seven forged replies, then the honest one
	CNAMEOnly        // a chain is left for the asker to follow
	Referral         // other servers are named, and nothing answered
)

// Upstream is a resolver for tests on a real port, UDP and TCP, that holds the
// records it is given and lies as it is told.
type Upstream struct {
	Addr string

	mu      sync.Mutex
	records map[string][]dns.RR
	lie     Lie
	asked   map[string]int
	ports   map[uint16]bool
	ids     map[uint16]bool
	names   []string // as they came, case and all
	release chan struct{}
	ad      bool

	udp, tcp *dns.Server
}

// NewUpstream starts one that knows records, in zone-file form.
func NewUpstream(t testing.TB, records ...string) *Upstream {
	t.Helper()
	u := &Upstream{records: map[string][]dns.RR{}, asked: map[string]int{}, ports: map[uint16]bool{}, ids: map[uint16]bool{}, release: make(chan struct{})}
	u.Add(t, records...)
	pc, l := listenBoth(t)
	u.Addr = pc.LocalAddr().String()
	handler := dns.HandlerFunc(u.serve)
	accept := func(dns.Header) dns.MsgAcceptAction { return dns.MsgAccept }
	u.udp = &dns.Server{PacketConn: pc, Handler: handler, MsgAcceptFunc: accept, UDPSize: 4096}
	u.tcp = &dns.Server{Listener: l, Handler: handler, MsgAcceptFunc: accept}
	var serving sync.WaitGroup
	for _, s := range []*dns.Server{u.udp, u.tcp} {
		started := make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		serving.Go(func() { _ = s.ActivateAndServe() })
		<-started
	}
	t.Cleanup(func() {
		u.Release()
		u.Stop()
		serving.Wait()
	})
	return u
}

func listenBoth(t testing.TB) (net.PacketConn, net.Listener) {
	t.Helper()
	var last error
	for range 20 {
		pc, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("tcp", pc.LocalAddr().String())
		if err == nil {
			return pc, l
		}
		last = err
		_ = pc.Close()
	}
	t.Fatal(last)
	return nil, nil
}

// Stop makes it dead: nothing listens any more.
func (u *Upstream) Stop() {
	_ = u.udp.Shutdown() // an error says that it has been stopped before
	_ = u.tcp.Shutdown()
}

// Add adds records.
func (u *Upstream) Add(t testing.TB, records ...string) {
	t.Helper()
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, text := range records {
		rr, err := dns.NewRR(text)
		if err != nil {
			t.Fatalf("record %q: %v", text, err)
		}
		name := strings.ToLower(rr.Header().Name)
		u.records[name] = append(u.records[name], rr)
	}
}

// Replace sets the records of a name.
func (u *Upstream) Replace(t testing.TB, name string, records ...string) {
	t.Helper()
	u.mu.Lock()
	delete(u.records, strings.ToLower(dns.Fqdn(name)))
	u.mu.Unlock()
	u.Add(t, records...)
}

// Tell sets the lie from now on.
func (u *Upstream) Tell(l Lie) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.lie = l
}

// Authentic sets the AD bit of its replies.
func (u *Upstream) Authentic(ad bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.ad = ad
}

// Release answers what Slow has kept back, and all that follows.
func (u *Upstream) Release() {
	u.mu.Lock()
	defer u.mu.Unlock()
	select {
	case <-u.release:
	default:
		close(u.release)
	}
}

// Asked is how often a name was asked for; "" is all names together.
func (u *Upstream) Asked(name string) int {
	u.mu.Lock()
	defer u.mu.Unlock()
	if name != "" {
		return u.asked[strings.ToLower(dns.Fqdn(name))]
	}
	n := 0
	for _, c := range u.asked {
		n += c
	}
	return n
}

// Seen is how many different ports and IDs queries came with, and the names as
// they were written.
func (u *Upstream) Seen() (ports, ids int, names []string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.ports), len(u.ids), append([]string(nil), u.names...)
}

func (u *Upstream) note(w dns.ResponseWriter, q *dns.Msg) (Lie, chan struct{}) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if from, err := netip.ParseAddrPort(w.RemoteAddr().String()); err == nil {
		u.ports[from.Port()] = true
	}
	u.ids[q.Id] = true
	if len(q.Question) > 0 {
		u.asked[strings.ToLower(q.Question[0].Name)]++
		if len(u.names) < 10_000 {
			u.names = append(u.names, q.Question[0].Name)
		}
	}
	return u.lie, u.release
}

func (u *Upstream) serve(w dns.ResponseWriter, q *dns.Msg) {
	lie, release := u.note(w, q)
	_, stream := w.RemoteAddr().(*net.TCPAddr)
	if lie == Slow {
		<-release
	}
	if lie == Silent || len(q.Question) != 1 {
		return
	}
	m := u.honest(q, lie)
	switch lie {
	case WrongID:
		m.Id++
	case WrongName:
		m.Question[0].Name = "other.example."
	case Unasked:
		m.Answer = append(m.Answer, mustRR("bank.example. 300 IN A 203.0.113.66"))
		m.Ns = append(m.Ns, mustRR("example. 300 IN NS evil.example."))
		m.Extra = append(m.Extra, mustRR("evil.example. 300 IN A 203.0.113.66"))
	case Loop:
		m.Rcode, m.Ns = dns.RcodeSuccess, nil
		m.Answer = []dns.RR{mustRR(q.Question[0].Name + " 300 IN CNAME loop.example."), mustRR("loop.example. 300 IN CNAME " + q.Question[0].Name)}
	case LongChain:
		m.Rcode, m.Ns, m.Answer = dns.RcodeSuccess, nil, []dns.RR{mustRR(q.Question[0].Name + " 300 IN CNAME x." + q.Question[0].Name)}
	case Oversize:
		for range 500 {
			m.Answer = append(m.Answer, mustRR(q.Question[0].Name+" 300 IN TXT 0123456789"))
		}
	case TruncateUDP, HalfOpenTCP:
		if stream && lie == HalfOpenTCP {
			<-release
			return
		}
		if !stream {
			m.Truncated, m.Answer, m.Ns = true, nil, nil
		}
	case TruncateAll:
		m.Truncated, m.Answer, m.Ns = true, nil, nil
	case ServFail:
		m = new(dns.Msg).SetRcode(q, dns.RcodeServerFailure)
	case RefuseAll:
		m = new(dns.Msg).SetRcode(q, dns.RcodeRefused)
	case Garbage:
		_, _ = w.Write([]byte("this is no message, but it is long enough for a header"))
		return
	case NoEDNS:
		if q.IsEdns0() != nil {
			m = new(dns.Msg).SetRcode(q, dns.RcodeFormatError)
		}
	case LowerCase:
		m.Question[0].Name = strings.ToLower(m.Question[0].Name)
	case Referral:
		m.Rcode, m.Answer, m.Ns = dns.RcodeSuccess, nil, []dns.RR{mustRR("example. 300 IN NS ns.example.")}
	case BareFormErr:
		m = &dns.Msg{MsgHdr: dns.MsgHdr{Id: q.Id, Response: true, Rcode: dns.RcodeFormatError}}
	case SpoofThenAns:
		for i := range 7 {
			forged := m.Copy()
			forged.Id += uint16(i + 1)
			_ = w.WriteMsg(forged)
		}
	}
	_ = w.WriteMsg(m) // a test that cares sees that nothing came
}

// honest is the true answer, with the chain followed.
func (u *Upstream) honest(q *dns.Msg, lie Lie) *dns.Msg {
	u.mu.Lock()
	defer u.mu.Unlock()
	m := new(dns.Msg).SetReply(q)
	m.RecursionAvailable, m.AuthenticatedData = true, u.ad
	if opt := q.IsEdns0(); opt != nil {
		m.SetEdns0(1232, opt.Do())
	}
	qtype := q.Question[0].Qtype
	if lie == Private {
		switch qtype {
		case dns.TypeA:
			m.Answer = append(m.Answer, mustRR(q.Question[0].Name+" 300 IN A 192.168.0.1"))
		case dns.TypeAAAA:
			m.Answer = append(m.Answer, mustRR(q.Question[0].Name+" 300 IN AAAA fd00::1"))
		}
		return m
	}
	name, owner := strings.ToLower(q.Question[0].Name), q.Question[0].Name
	for range 20 {
		records, known := u.records[name]
		if !known {
			m.Rcode = dns.RcodeNameError
			break
		}
		var next string
		for _, rr := range records {
			if t := rr.Header().Rrtype; t == qtype || t == dns.TypeCNAME || t == dns.TypeRRSIG && m.IsEdns0() != nil && m.IsEdns0().Do() {
				c := dns.Copy(rr)
				c.Header().Name = owner
				m.Answer = append(m.Answer, c)
				if cname, ok := c.(*dns.CNAME); ok && qtype != dns.TypeCNAME {
					next = cname.Target
				}
			}
		}
		if next == "" || lie == CNAMEOnly {
			if next != "" {
				return m
			}
			break
		}
		name, owner = strings.ToLower(next), next
	}
	if len(m.Answer) == 0 || m.Rcode != dns.RcodeSuccess || m.Answer[len(m.Answer)-1].Header().Rrtype == dns.TypeCNAME && qtype != dns.TypeCNAME {
		m.Ns = append(m.Ns, mustRR("example. 300 IN SOA ns.example. root.example. 1 3600 600 86400 60"))
	}
	return m
}

func mustRR(text string) dns.RR {
	rr, err := dns.NewRR(text)
	if err != nil {
		panic(err)
	}
	return rr
}

// Ask sends one message and gives the answer; nil if none comes in time.
func Ask(t testing.TB, network, addr string, m *dns.Msg) *dns.Msg {
	t.Helper()
	c := dns.Client{Net: network, Timeout: 6 * time.Second, UDPSize: 4096}
	r, _, err := c.Exchange(m, addr)
	if err != nil {
		t.Logf("ask %v over %s: %v", m.Question, network, err)
		return nil
	}
	return r
}
