package dnsfilter

import (
	"encoding/binary"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"schoolgate/internal/testkit"
	"schoolgate/policy"
)

func (d *door) via(t testing.TB, network string, m *dns.Msg) *dns.Msg {
	t.Helper()
	return testkit.Ask(t, network, d.addr, m)
}

// EDNS and header behaviour, one by one (M1; the checks of the EDNS compliance
// tester, RFC 6891, RFC 7873, RFC 8482).
func TestEDNSCompliance(t *testing.T) {
	d := openDoor(t, rules{"": allowed()}, nil, "open.example. 300 IN A 203.0.113.1")
	opt := func(m *dns.Msg) *dns.OPT { return m.IsEdns0() }
	option := func(m *dns.Msg, o dns.EDNS0) { opt(m).Option = append(opt(m).Option, o) }
	for _, tc := range []struct {
		promise string
		change  func(*dns.Msg)
		want    string
		wantOPT bool
	}{
		{"plain DNS has no OPT", func(m *dns.Msg) { m.Extra = nil }, "NOERROR", false},
		{"EDNS gets an OPT", func(m *dns.Msg) {}, "NOERROR", true},
		{"512", func(m *dns.Msg) { opt(m).SetUDPSize(512) }, "NOERROR", true},
		{"a size below 512 is 512", func(m *dns.Msg) { opt(m).SetUDPSize(0) }, "NOERROR", true},
		{"DO comes back", func(m *dns.Msg) { opt(m).SetDo() }, "NOERROR", true},
		{"version 1 is BADVERS", func(m *dns.Msg) { opt(m).SetVersion(1) }, "BADVERS", true},
		{"version 255 too", func(m *dns.Msg) { opt(m).SetVersion(255) }, "BADVERS", true},
		{"an unknown option is ignored", func(m *dns.Msg) { option(m, &dns.EDNS0_LOCAL{Code: 100, Data: []byte{1, 2}}) }, "NOERROR", true},
		{"unknown option and version 1", func(m *dns.Msg) {
			opt(m).SetVersion(1)
			option(m, &dns.EDNS0_LOCAL{Code: 100})
		}, "BADVERS", true},
		{"an unknown flag is not repeated", func(m *dns.Msg) { opt(m).Hdr.Ttl |= 0x40 }, "NOERROR", true},
		{"NSID is not told", func(m *dns.Msg) { option(m, &dns.EDNS0_NSID{Code: dns.EDNS0NSID}) }, "NOERROR", true},
		{"a cookie is answered", func(m *dns.Msg) {
			option(m, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0123456789abcdef"})
		}, "NOERROR", true},
		{"client subnet is not passed on", func(m *dns.Msg) {
			option(m, &dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: 24, Address: net.IPv4(192, 0, 2, 0)})
		}, "NOERROR", true},
		{"several options", func(m *dns.Msg) {
			option(m, &dns.EDNS0_NSID{Code: dns.EDNS0NSID})
			option(m, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0123456789abcdef"})
			option(m, &dns.EDNS0_EXPIRE{Code: dns.EDNS0EXPIRE, Empty: true})
		}, "NOERROR", true},
		{"two OPT records are malformed", func(m *dns.Msg) { m.Extra = append(m.Extra, dns.Copy(m.Extra[0])) }, "FORMERR", true},
		{"OPT below a name is malformed", func(m *dns.Msg) { m.Extra[0].Header().Name = "a." }, "FORMERR", false},
		{"no recursion desired", func(m *dns.Msg) { m.RecursionDesired = false }, "NOERROR", true},
		{"AA is ignored", func(m *dns.Msg) { m.Authoritative = true }, "NOERROR", true},
		{"TC is ignored", func(m *dns.Msg) { m.Truncated = true }, "NOERROR", true},
		{"RA is ignored", func(m *dns.Msg) { m.RecursionAvailable = true }, "NOERROR", true},
		{"Z is ignored", func(m *dns.Msg) { m.Zero = true }, "NOERROR", true},
		{"AD and CD", func(m *dns.Msg) { m.AuthenticatedData, m.CheckingDisabled = true, true }, "NOERROR", true},
		{"an unknown type", func(m *dns.Msg) { m.Question[0].Qtype = 1000 }, "NOERROR", true},
		{"CHAOS is refused", func(m *dns.Msg) {
			m.Question[0] = dns.Question{Name: "version.bind.", Qtype: dns.TypeTXT, Qclass: dns.ClassCHAOS}
		}, "REFUSED", true},
		{"class ANY is refused", func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassANY }, "REFUSED", true},
		{"UPDATE is refused", func(m *dns.Msg) { m.Opcode = dns.OpcodeUpdate }, "REFUSED", true},
		{"NOTIFY is refused", func(m *dns.Msg) { m.Opcode = dns.OpcodeNotify }, "REFUSED", true},
		{"STATUS is not implemented", func(m *dns.Msg) { m.Opcode = dns.OpcodeStatus }, "NOTIMP", true},
		{"an unknown operation too", func(m *dns.Msg) { m.Opcode = 15 }, "NOTIMP", true},
		{"a cookie of a wrong length is malformed", func(m *dns.Msg) {
			option(m, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0123"})
		}, "FORMERR", true},
		{"a type that is never asked for", func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeNXNAME }, "FORMERR", true},
		{"IXFR with its SOA is refused", func(m *dns.Msg) {
			m.Question[0].Qtype = dns.TypeIXFR
			m.Ns = append(m.Ns, &dns.SOA{Hdr: dns.RR_Header{Name: "open.example.", Rrtype: dns.TypeSOA, Class: 1}, Ns: ".", Mbox: "."})
		}, "REFUSED", false},
		{"no question is malformed", func(m *dns.Msg) { m.Question = nil }, "FORMERR", true},
		{"two questions are malformed", func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) }, "FORMERR", false},
		{"an answer in a question is malformed", func(m *dns.Msg) {
			m.Answer = append(m.Answer, &dns.A{Hdr: dns.RR_Header{Name: "open.example.", Rrtype: 1, Class: 1}, A: net.IPv4(1, 2, 3, 4)})
		}, "FORMERR", false},
	} {
		for _, network := range []string{"udp", "tcp"} {
			m := question("open.example", dns.TypeA)
			tc.change(m)
			r := d.via(t, network, m)
			if r == nil {
				t.Errorf("%s over %s: no answer", tc.promise, network)
				continue
			}
			got := dns.RcodeToString[r.Rcode]
			if r.Rcode == dns.RcodeBadVers {
				got = "BADVERS"
			}
			if got != tc.want || (r.IsEdns0() != nil) != tc.wantOPT {
				t.Errorf("%s over %s: %s, OPT %t; want %s, OPT %t", tc.promise, network, got, r.IsEdns0() != nil, tc.want, tc.wantOPT)
			}
			if !r.Response || r.Authoritative || r.Zero || r.Truncated || !r.RecursionAvailable || r.RecursionDesired != m.RecursionDesired || r.CheckingDisabled != m.CheckingDisabled || r.AuthenticatedData || r.Opcode != m.Opcode {
				t.Errorf("%s over %s: flags %+v", tc.promise, network, r.MsgHdr)
			}
			o := r.IsEdns0()
			if o == nil {
				continue
			}
			if o.Version() != 0 || o.UDPSize() != maxUDPSize || o.Do() != m.IsEdns0().Do() || o.Hdr.Ttl&0x7FFF != 0 {
				t.Errorf("%s over %s: OPT %s", tc.promise, network, o)
			}
			for _, x := range o.Option {
				if x.Option() != dns.EDNS0EDE && (x.Option() != dns.EDNS0COOKIE || cookieOf(m) == "") {
					t.Errorf("%s over %s: option %s came back", tc.promise, network, x)
				}
			}
		}
	}
	if _, _, names := d.upstream.Seen(); len(names) == 0 {
		t.Error("nothing was asked upstream")
	}
}

func TestCaseOfTheQuestionIsKept(t *testing.T) {
	d := openDoor(t, rules{"": allowed(), "casino.example": blocked(policy.Gambling)}, nil, "open.example. 300 IN A 203.0.113.1")
	for _, name := range []string{"oPeN.eXaMpLe.", "OPEN.EXAMPLE.", "open.example.", "CaSiNo.ExAmPlE."} {
		r := d.ask(t, name, dns.TypeA)
		if r.Question[0].Name != name || len(r.Answer) != 1 || r.Answer[0].Header().Name != name {
			t.Errorf("%s = %v, want the question's own case in question and record", name, r)
		}
	}
}

func TestTruncation(t *testing.T) {
	var records []string
	for i := range 100 {
		records = append(records, "big.example. 300 IN A 203.0.113."+strconv.Itoa(i))
	}
	d := openDoor(t, rules{"": allowed()}, nil, records...)
	for _, size := range []uint16{0, 512, 1232, 4096, 65535} {
		m := question("big.example", dns.TypeA)
		m.IsEdns0().SetUDPSize(size)
		if size == 0 {
			m.Extra = nil
		}
		r := d.send(t, m)
		if !r.Truncated || len(r.Answer) != 0 {
			t.Errorf("size %d: TC %t with %d records, want TC and none: 100 addresses never fit", size, r.Truncated, len(r.Answer))
		}
	}
	if r := d.via(t, "tcp", question("big.example", dns.TypeA)); r.Truncated || len(r.Answer) != 100 {
		t.Errorf("over TCP: TC %t with %d records, want all 100", r.Truncated, len(r.Answer))
	}
}

// Answers leave in the order they are ready, each to its own question.
func TestPipelining(t *testing.T) {
	d := openDoor(t, rules{"": allowed(), "casino.example": blocked(policy.Gambling)}, nil, "slow.example. 300 IN A 203.0.113.1")
	d.upstream.Tell(testkit.Slow)
	conn, err := net.Dial("tcp", d.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c := &dns.Conn{Conn: conn}
	slow, fast := question("slow.example", dns.TypeA), question("casino.example", dns.TypeA)
	for _, m := range []*dns.Msg{slow, fast} {
		if err := c.WriteMsg(m); err != nil {
			t.Fatal(err)
		}
	}
	first, err := c.ReadMsg()
	if err != nil || first.Id != fast.Id {
		t.Fatalf("first answer = %v, %v; want the one that had not to wait", first, err)
	}
	d.upstream.Release()
	second, err := c.ReadMsg()
	if err != nil || second.Id != slow.Id || said(second) != "NOERROR | A 203.0.113.1" {
		t.Fatalf("second answer = %v, %v", second, err)
	}
}

// A client that sends its question byte by byte, or half of it, holds up nobody.
func TestSlowConnections(t *testing.T) {
	d := openDoor(t, rules{"": allowed()}, func(c *Config) { c.MaxConns, c.MaxPerAddr = 40, 30 }, "open.example. 300 IN A 203.0.113.1")
	var idle []net.Conn
	for range 30 {
		conn, err := net.Dial("tcp", d.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_, _ = conn.Write([]byte{0, 40, 1}) // the rest never comes; a closed one is what is asked for
		idle = append(idle, conn)
	}
	if got := said(d.via(t, "tcp", question("open.example", dns.TypeA))); got != "NOERROR | A 203.0.113.1" {
		t.Errorf("a connection beyond the client's share: %s, want an answer in place of an idle one", got)
	}
	closed := make(chan struct{}, len(idle))
	for _, conn := range idle {
		go func() {
			_, _ = conn.Read(make([]byte, 1)) // ends when the server closes it
			closed <- struct{}{}
		}()
	}
	<-closed
	if got := said(d.ask(t, "open.example", dns.TypeA)); got != "NOERROR | A 203.0.113.1" {
		t.Errorf("beside %d idle connections: %s", len(idle), got)
	}
}

// Garbage over TCP closes its own connection only.
func TestGarbageOverTCP(t *testing.T) {
	d := openDoor(t, rules{"": allowed()}, nil, "open.example. 300 IN A 203.0.113.1")
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		conn, err := net.Dial("tcp", d.addr)
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, r.IntN(200))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		_, _ = conn.Write(b) // it may be closed already
		_ = conn.Close()
	}
	for i, pkt := range malformed(t) {
		if i%5 != 0 {
			continue // a connection each
		}
		conn, err := net.Dial("tcp", d.addr)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(pkt))), pkt...))
		_ = conn.Close()
	}
	if got := said(d.via(t, "tcp", question("open.example", dns.TypeA))); got != "NOERROR | A 203.0.113.1" {
		t.Errorf("after the garbage: %s", got)
	}
}

// Only the school's networks are served (T5).
func TestOutsiders(t *testing.T) {
	d := openDoor(t, rules{"": allowed()}, func(c *Config) { c.Clients = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")} },
		"open.example. 300 IN A 203.0.113.1")
	conn, err := net.Dial("udp", d.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	pkt, _ := question("open.example", dns.TypeA).Pack()
	answers := 0
	for range 200 {
		if _, err := conn.Write(pkt); err != nil {
			t.Fatal(err)
		}
	}
	buf := make([]byte, 512)
	_ = conn.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
	for {
		n, err := conn.Read(buf)
		if err != nil {
			break
		}
		answers++
		r := new(dns.Msg)
		if err := r.Unpack(buf[:n]); err != nil || r.Rcode != dns.RcodeRefused || n > len(pkt) || len(r.Question) != 1 || r.IsEdns0() == nil {
			t.Fatalf("an outsider gets %x, want a REFUSED of its question, and no longer", buf[:n])
		}
	}
	if answers == 0 || answers > 20 {
		t.Errorf("%d of 200 packets of an outsider answered, want about ten", answers)
	}
	if d.journal.count.Load() != 0 || d.upstream.Asked("") != 0 {
		t.Error("an outsider's question went further than its header")
	}
}

// malformed is packets that are wrong in every way a packet can be.
func malformed(t testing.TB) [][]byte {
	t.Helper()
	good := question("www.open.example", dns.TypeA)
	good.IsEdns0().Option = append(good.IsEdns0().Option, &dns.EDNS0_LOCAL{Code: 100, Data: []byte{1, 2, 3}})
	base, err := good.Pack()
	if err != nil {
		t.Fatal(err)
	}
	var all [][]byte
	for n := range base { // cut anywhere
		all = append(all, slices.Clone(base[:n]))
	}
	for i := range base { // any byte another
		for _, v := range []byte{0, 1, 0x3F, 0x40, 0x7F, 0x80, 0xC0, 0xFF} {
			b := slices.Clone(base)
			b[i] = v
			all = append(all, b)
		}
	}
	header := func(flags, qd, an, ns, ar uint16) []byte {
		b := binary.BigEndian.AppendUint16(nil, 7)
		for _, v := range []uint16{flags, qd, an, ns, ar} {
			b = binary.BigEndian.AppendUint16(b, v)
		}
		return b
	}
	for opcode := range uint16(16) { // every operation, with counts that promise too much (M2)
		for _, n := range []uint16{0, 1, 2, 65535} {
			all = append(all, header(opcode<<11, n, n, n, n), append(header(opcode<<11, n, n, n, n), base[12:]...), append(header(opcode<<11|1<<15, n, 0, 0, 0), base[12:]...))
		}
	}
	pointers := append(header(0, 1, 0, 0, 0), 0xC0, 12, 0, 1, 0, 1) // a name that is itself
	long := append(header(0, 1, 0, 0, 0), strings.Repeat("\x3f"+strings.Repeat("a", 63), 8)...)
	labels := append(header(0, 1, 0, 0, 0), strings.Repeat("\x01a", 200)...)
	all = append(all, pointers, append(long, 0, 0, 1, 0, 1), append(labels, 0, 0, 1, 0, 1), append(slices.Clone(base), 0), append(slices.Clone(base), base...))
	r := rand.New(rand.NewPCG(3, 4))
	for range 9400 { // noise, with and without a header that promises a question
		b := make([]byte, r.IntN(300))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		if len(b) > 12 && r.IntN(2) == 0 {
			copy(b, header(1<<8, 1, 0, 0, 1))
		}
		all = append(all, b)
	}
	return all
}

// Malformed packets get FORMERR or nothing, and the next question its answer (M2).
func TestMalformedPackets(t *testing.T) {
	d := openDoor(t, rules{"": blocked(policy.Gambling)}, nil)
	corpus := malformed(t)
	conn, err := net.Dial("udp", d.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c := &dns.Conn{Conn: conn, UDPSize: 4096}
	for i, pkt := range corpus {
		if _, err := conn.Write(pkt); err != nil {
			t.Fatal(err)
		}
		if i%50 != 0 {
			continue
		}
		probe := question("probe.example", dns.TypeA)
		probe.Id = 0xBEEF
		if err := c.WriteMsg(probe); err != nil {
			t.Fatal(err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		for {
			r, err := c.ReadMsg()
			if r == nil && err != nil {
				t.Fatalf("after packet %d, %x: %v", i, pkt, err)
			}
			if err != nil {
				t.Fatalf("after packet %d: an answer that cannot be read: %v", i, err)
			}
			if r.Id == 0xBEEF && len(r.Question) == 1 && r.Question[0].Name == "probe.example." {
				break
			}
		}
	}
	t.Logf("%d packets", len(corpus))
}

// FuzzPacket: no packet makes us fail, and what we read miekg/dns reads alike.
func FuzzPacket(f *testing.F) {
	for i, pkt := range malformed(f) {
		if i%150 == 0 {
			f.Add(pkt)
		}
	}
	s, err := New(Config{Listen: []string{"127.0.0.1:0"}, Upstreams: []string{"127.0.0.1:1"}, Rate: -1,
		Decider: rules{"": allowed(), "example": blocked(policy.Gambling)}, Sink: &journal{}})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(s.Close)
	f.Fuzz(func(t *testing.T, pkt []byte) {
		if len(pkt) > maxPacket {
			return
		}
		j := newJob()
		j.pkt, j.from, j.start = append(j.pkt, pkt...), netip.MustParseAddr("10.0.0.1"), time.Now()
		s.read(j)
		o := s.begin(j)
		if s.metrics == nil || len(j.buf) > maxUDPSize {
			t.Fatalf("answer of %d bytes", len(j.buf))
		}
		if o == drop || o == await {
			return
		}
		var m dns.Msg
		if err := m.Unpack(j.buf); err != nil {
			t.Fatalf("our answer %x cannot be read: %v", j.buf, err)
		}
		if !m.Response || binary.BigEndian.Uint16(pkt) != m.Id {
			t.Fatalf("answer %v is not to the question", m.MsgHdr)
		}
		if o != record {
			return
		}
		var q dns.Msg
		asked := append(slices.Clone(pkt[:10]), 0, 0) // the question alone: we pass over what follows an OPT
		asked = append(asked, pkt[12:12+len(j.q.name)+4]...)
		if err := q.Unpack(asked); err != nil {
			t.Fatalf("we read %x, miekg/dns does not: %v", pkt, err)
		}
		if len(m.Question) != 1 || m.Question[0] != q.Question[0] {
			t.Fatalf("question %v came back as %v", q.Question, m.Question)
		}
	})
}
