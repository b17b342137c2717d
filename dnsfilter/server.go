package dnsfilter

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/time/rate"

	"schoolgate/dnsfilter/upstream"
	"schoolgate/policy"
)

// Server is the DNS door.
type Server struct {
	cfg      Config
	resolver *upstream.Resolver
	metrics  *metrics
	names    *names
	rules    *ruleTexts
	words    *refusalWords
	given    *given
	tunnels  *tunnels
	fronts   fronts

	batchSink batchSink // the sink, if it takes batches
	guests    *guests
	cookies   cookies
	clients   networks
	strays    *rate.Limiter // answers to outsiders

	blockedTTL, answerTTL uint32

	packets   []*packets
	listeners []net.Listener
	tlsAddrs  []netip.AddrPort
	doh       []*doh
	dohAddrs  []netip.AddrPort
	conns     conns

	jobs     sync.Pool
	landings sync.Pool
	flying   [numWaits]atomic.Int64 // questions that wait
	sayLost  atomic.Int64           // when the log last said that events are lost, in seconds
	waits    sync.WaitGroup
	closed   sync.Once
}

// New checks cfg and binds, so a taken port is reported here. Call Run or Close.
func New(cfg Config) (*Server, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("dnsfilter: %w", err)
	}
	s := &Server{
		cfg:   cfg,
		rules: newRuleTexts(), words: newRefusalWords(cfg.EDEText), given: newGiven(givenBytes), tunnels: newTunnels(),
		guests: newGuests(cfg.Rate, cfg.Burst, cfg.MaxPerGuest), clients: cfg.Clients,
		strays:     rate.NewLimiter(10, 10),
		blockedTTL: uint32(cfg.BlockedTTL / time.Second), answerTTL: uint32(cfg.AnswerTTL / time.Second),
	}
	if s.resolver, err = upstream.New(cfg.upstream(s.newLanding, s.fronts.add)); err != nil {
		return nil, fmt.Errorf("dnsfilter: %w", err)
	}
	s.names = newNames(rememberNames, s.servedElsewhere)
	s.batchSink, _ = cfg.Sink.(batchSink)
	s.conns.init(cfg.MaxConns, cfg.MaxPerAddr)
	s.jobs.New = func() any { return newJob() }
	s.landings.New = s.makeLanding
	if err := s.bindAll(); err != nil {
		s.Close()
		return nil, fmt.Errorf("dnsfilter: %w", err)
	}
	s.metrics = newMetrics(cfg.Metrics, s.conns.count, func() float64 { return float64(s.flying[forUpstream].Load() + s.flying[forDisk].Load()) })
	return s, nil
}

func (s *Server) bindAll() error {
	for _, addr := range s.cfg.Listen {
		if err := s.bind(addr); err != nil {
			return err
		}
	}
	dot := tlsConfig(s.cfg.TLS, "dot")
	for _, addr := range s.cfg.ListenTLS {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			return err
		}
		s.tlsAddrs = append(s.tlsAddrs, l.Addr().(*net.TCPAddr).AddrPort())
		s.listeners = append(s.listeners, tls.NewListener(l, dot))
	}
	for _, addr := range s.cfg.ListenHTTPS {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			return err
		}
		s.dohAddrs = append(s.dohAddrs, l.Addr().(*net.TCPAddr).AddrPort())
		s.doh = append(s.doh, s.newDoH(l))
	}
	return nil
}

// tlsConfig is what DNS over TLS (RFC 7858) and HTTPS are served with: the
// caller's certificate, and no version that a browser would refuse.
func tlsConfig(c *tls.Config, protocols ...string) *tls.Config {
	if c == nil {
		return nil
	}
	c = c.Clone()
	c.MinVersion = max(c.MinVersion, tls.VersionTLS12)
	c.NextProtos = protocols
	return c
}

// bind takes an address for UDP and TCP; port 0 is one that is free for both.
func (s *Server) bind(addr string) error {
	var err error
	for range 8 {
		var p *packets
		if p, err = listenPackets(addr); err != nil {
			return err
		}
		var l net.Listener
		if l, err = net.Listen("tcp", p.addr.String()); err == nil {
			s.packets, s.listeners = append(s.packets, p), append(s.listeners, l)
			return nil
		}
		p.close()
		if _, port, _ := net.SplitHostPort(addr); port != "0" {
			return err
		}
	}
	return err
}

// Addrs are the addresses the server has bound, in the order of Config.Listen.
func (s *Server) Addrs() []netip.AddrPort {
	addrs := make([]netip.AddrPort, len(s.packets))
	for i, p := range s.packets {
		addrs[i] = p.addr
	}
	return addrs
}

// TLSAddrs are the addresses bound for DNS over TLS, in the order of
// Config.ListenTLS.
func (s *Server) TLSAddrs() []netip.AddrPort { return s.tlsAddrs }

// HTTPSAddrs are the addresses bound for DNS over HTTPS, in the order of
// Config.ListenHTTPS.
func (s *Server) HTTPSAddrs() []netip.AddrPort { return s.dohAddrs }

// DNSSECTrouble is why no name can be validated at present; nil if names can be, or are
// not validated here.
func (s *Server) DNSSECTrouble() error { return s.resolver.Trouble() }

// Run answers until ctx is done, finishes what is under way and returns nil.
func (s *Server) Run(ctx context.Context) error {
	defer s.Close()
	work := context.WithoutCancel(ctx) // a question under way is answered
	var readers sync.WaitGroup
	for _, p := range s.packets {
		p.serve(&readers, func(port *port) { s.servePackets(work, port) })
	}
	for _, l := range s.listeners {
		readers.Go(func() { s.accept(work, l) })
	}
	for _, d := range s.doh {
		readers.Go(func() { d.serve(ctx, work) })
	}
	<-ctx.Done()
	for _, p := range s.packets {
		p.stop()
	}
	for _, l := range s.listeners {
		_ = l.Close() // its accept loop ends
	}
	s.conns.stop()
	readers.Wait()
	s.conns.wait()
	s.waits.Wait()
	return nil
}

// Close gives the ports back. A server that ran has done so.
func (s *Server) Close() {
	s.closed.Do(func() {
		for _, p := range s.packets {
			p.close()
		}
		for _, l := range s.listeners {
			_ = l.Close() // closed twice after Run, which is no error of ours
		}
		for _, d := range s.doh {
			_ = d.listener.Close()
		}
		s.resolver.Close()
	})
}

// outcome is what is to be done with a job.
type outcome uint8

const (
	drop   outcome = iota // nothing is answered
	reply                 // buf is the answer; there is nothing to record
	record                // the event, then buf
	await                 // an upstream has to be asked, or a disk
)

// read reads the packet of a job; begin goes on from there.
func (s *Server) read(j *job) {
	defer s.rescueRead(j)
	if j.came = j.q.read(j.pkt); j.came == readQuery {
		j.hash = s.names.hash(j.q.lowerName())
	}
}

// begin takes a packet that has been read as far as it goes without waiting.
func (s *Server) begin(j *job) (o outcome) {
	defer s.rescue(j, &o)
	if len(j.pkt) == 0 {
		return drop // of Beat, most likely
	}
	if !s.clients.serve(j.from) {
		return s.outsider(j)
	}
	if j.came == readIgnore {
		s.metrics.malformed.Inc()
		return drop
	}
	var within bool
	if j.guest, within = s.guests.admit(j.from, j.start); !within {
		s.metrics.limited.Inc()
		if !j.stream {
			return drop
		}
		return s.refuse(j)
	}
	switch j.came {
	case readFormErr:
		s.metrics.malformed.Inc()
		return s.bare(j, dns.RcodeFormatError)
	case readNotImp:
		return s.bare(j, dns.RcodeNotImplemented)
	case readRefused:
		return s.bare(j, dns.RcodeRefused)
	}
	good := false
	if j.q.cookie != nil {
		j.q.cookieBack, good = s.cookies.answer(j.q.cookie, j.from, j.start)
	}
	switch {
	case j.q.version != 0:
		return s.empty(j, dns.RcodeBadVers)
	case j.came == readCookie && !good && len(j.q.cookie) > clientCookie:
		return s.empty(j, dns.RcodeBadCookie)
	case j.came == readCookie:
		return s.empty(j, dns.RcodeSuccess)
	}
	if s.cfg.DNSSEC == DNSSECOff {
		j.q.do = false
	}
	s.decide(j)
	if j.ruling.Severity > 0 && !j.stream { // its event goes to the disk first: not in front of others
		return await
	}
	if s.advance(j) {
		return s.described(j)
	}
	if !s.suspect(j) {
		return await
	}
	if j.ruling.Severity > 0 && !j.stream {
		return await
	}
	s.compose(j)
	return s.described(j)
}

// described makes the event of a job whose answer is written.
func (s *Server) described(j *job) outcome {
	s.describe(j)
	return record
}

// outsider refuses a client that is not ours, at a rate that is no use for
// flooding anybody.
func (s *Server) outsider(j *job) outcome {
	s.metrics.outside.Inc()
	if j.came == readIgnore || !s.strays.AllowN(j.start, 1) {
		return drop
	}
	return s.refuse(j)
}

// refuse turns down what is not looked at for who sent it. The answer repeats the
// question, or many devices would take it for none.
func (s *Server) refuse(j *job) outcome {
	if j.came != readQuery {
		return s.bare(j, dns.RcodeRefused)
	}
	j.q.cookie = nil
	return s.empty(j, dns.RcodeRefused)
}

// empty answers with the code and an OPT record and nothing else.
func (s *Server) empty(j *job, rcode int) outcome {
	j.msg.begin(j.buf, &j.q)
	j.msg.rcode = rcode
	j.buf = j.msg.finish(&j.q, j.limit())
	s.metrics.rcode(rcode)
	return reply
}

// bare answers a packet whose question cannot be read or is not looked at.
func (s *Server) bare(j *job, rcode int) outcome {
	j.q.empty, j.q.cookie = true, nil
	return s.empty(j, rcode)
}

// record puts the event into the journal; an answer whose event is not there
// does not leave.
func (s *Server) record(j *job) {
	if err := s.guarded(func() error { return s.cfg.Sink.Record(&j.event) }); err != nil {
		s.unrecorded(j, err)
	}
	s.metrics.answered(time.Now(), j)
}

// guarded makes a panic of the sink an error like any other.
func (s *Server) guarded(write func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			s.metrics.panics.Inc()
			err = fmt.Errorf("the sink failed: %v", p)
		}
	}()
	return write()
}

func (s *Server) unrecorded(j *job, err error) {
	s.metrics.unrecorded.Inc()
	last, t := s.sayLost.Load(), time.Now().Unix()
	if t-last >= 10 && s.sayLost.CompareAndSwap(last, t) { // a full disk must not fill the log too
		s.cfg.Log.Error("event not recorded, question refused", "err", err)
	}
	s.servfail(j)
}

// fail makes the answer of a job without an event a SERVFAIL.
func (s *Server) fail(j *job) {
	s.servfail(j)
	s.metrics.rcode(dns.RcodeServerFailure)
}

func (s *Server) servfail(j *job) {
	j.msg.begin(j.buf, &j.q)
	j.msg.rcode = dns.RcodeServerFailure
	j.buf = j.msg.finish(&j.q, j.limit())
}

// rescue turns a panic into a refusal of this one question (threat model, class
// rule b). What was asked is not in the log.
func (s *Server) rescue(j *job, o *outcome) {
	p := recover()
	if p == nil {
		return
	}
	s.metrics.panics.Inc()
	s.cfg.Log.Error("question refused after a fault of ours", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	if len(j.q.name) == 0 {
		*o = drop
		return
	}
	s.fail(j)
	*o = reply
}

// rescueRead drops a packet that our reading of it failed on.
func (s *Server) rescueRead(j *job) {
	if p := recover(); p != nil {
		s.metrics.panics.Inc()
		s.cfg.Log.Error("packet dropped after a fault of ours", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		j.came = readIgnore
	}
}

func newJob() *job {
	return &job{
		pkt: make([]byte, 0, maxPacket), control: make([]byte, 0, controlLen),
		buf: make([]byte, 0, maxPacket),
	}
}

func (s *Server) getJob() *job { return s.jobs.Get().(*job) }

// putJob keeps buffers of a usual size only.
func (s *Server) putJob(j *job) {
	if cap(j.pkt) > 2*maxPacket || cap(j.buf) > 2*maxPacket {
		return
	}
	j.pkt, j.buf = j.pkt[:0], j.buf[:0]
	j.stream, j.port, j.send, j.owner = false, nil, nil, nil
	j.guest, j.event, j.ruling = nil, policy.Event{}, policy.Ruling{}
	s.jobs.Put(j)
}

// errNoAddress is what LookupHost says of a name without addresses.
var errNoAddress = errors.New("no such host")

// LookupHost gives the addresses of a name from our upstreams and cache, whatever
// the policy says of it: the proxy has decided already. Private addresses of
// public names are not among them.
func (s *Server) LookupHost(ctx context.Context, host string) ([]netip.Addr, error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{addr.Unmap()}, nil
	}
	wire, ok := upstream.WireName(host)
	if !ok {
		return nil, &net.DNSError{Err: "not a host name", Name: host, IsNotFound: true}
	}
	what, _ := s.names.locals.find(wire)
	if what == loopback || what == designated || what == localZone && !s.resolver.HasZone(strings.ToLower(host)+".") {
		return nil, &net.DNSError{Err: errNoAddress.Error(), Name: host, IsNotFound: true}
	}
	var addrs [2][]netip.Addr
	var errs [2]error
	var both sync.WaitGroup
	for i, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
		both.Go(func() {
			var a upstream.Answer
			if errs[i] = s.resolver.Resolve(ctx, &a, upstream.Question{Name: wire, Type: qtype}); errs[i] == nil {
				addrs[i] = a.AppendAddrs(nil)
			}
		})
	}
	both.Wait()
	all := append(addrs[0], addrs[1]...)
	if len(all) > 0 {
		return all, nil
	}
	if err := errors.Join(errs[:]...); err != nil {
		return nil, &net.DNSError{Err: err.Error(), UnwrapErr: err, Name: host, IsTemporary: true, IsTimeout: errors.Is(err, context.DeadlineExceeded)}
	}
	return nil, &net.DNSError{Err: errNoAddress.Error(), Name: host, IsNotFound: true}
}
