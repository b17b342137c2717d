package proxy

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"schoolgate/policy"
	"schoolgate/proxy/sniff"
	"schoolgate/proxy/socket"
)

// Transparent is where connections arrive that the gateway took out of the
// pupils' way: they believe they speak to the site itself.
type Transparent struct {
	HTTP []string // what was meant for port 80
	TLS  []string // what was meant for port 443
}

// Memory is what the DNS door remembers of its answers.
type Memory interface {
	// Names are those that it answered a client with an address for, newest first. A
	// connection without a server name is judged by them.
	Names(client, addr netip.Addr, now time.Time) []string
	// ECHFront reports whether a name is shown in place of encrypted ones, by the records
	// that keys were taken out of; key is the number of the key.
	ECHFront(name string, key uint8) bool
}

// kind says what a listener carries; the zero kind is the explicit proxy.
type kind struct {
	proxy  bool // an explicit proxy, which browsers are told of
	secure bool // TLS ends at the listener: an explicit proxy that passwords may be sent to
	tls    bool
	usual  uint16 // the port that a transparent door stands for; 0 is an explicit one
}

var (
	transparentHTTP = kind{usual: 80}
	transparentTLS  = kind{usual: 443, tls: true}
)

// destination is where a connection was meant to go. With a redirect the kernel
// knows; with TPROXY it is the socket's own address. A client that dials the
// listener itself meant nowhere: it gets the usual port and no address.
func (l *listener) destination(conn net.Conn) netip.AddrPort {
	return l.destinationOf(
		func() (netip.AddrPort, bool) { return socket.Original(conn) },
		func() netip.AddrPort { return addrPort(conn.LocalAddr()) },
	)
}

func (l *listener) destinationOf(original func() (netip.AddrPort, bool), own func() netip.AddrPort) netip.AddrPort {
	if l.original != nil {
		original = func() (netip.AddrPort, bool) { return l.original(own()) }
	}
	port := addrPort(l.Addr()).Port()
	dst, ok := original()
	if ok && dst.Port() != port {
		return dst
	}
	self := own()
	if !ok {
		dst = self
	}
	if dst == self && dst.Port() == port {
		return netip.AddrPortFrom(netip.Addr{}, l.kind.usual)
	}
	return dst
}

func addrPort(a net.Addr) netip.AddrPort {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := tcp.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port())
}

// serveTransparent makes an origin-form request the absolute one it stands for.
// The Host header says which site; where the connection was meant to go says
// only the port: the name is resolved by us and that is what is dialled (Y21,
// CVE-2009-0801).
func (s *Server) serveTransparent(w http.ResponseWriter, r *http.Request) {
	p := peerOf(r.Context())
	if p != nil && asksWPAD(r) {
		s.serveOwn(w, r)
		return
	}
	if p == nil || r.Method == http.MethodConnect || r.URL.IsAbs() {
		s.ServeHTTP(w, r) // meant for some other proxy: judged as if asked of us
		return
	}
	r.URL.Scheme, r.URL.Host = "http", siteOf(r.Host, p.dst) // the request is our server's, and so ours to change
	r.RequestURI = "http://" + r.URL.Host + r.RequestURI
	s.ServeHTTP(w, r)
}

// siteOf is the site that a Host header names, on the port that was dialled. It
// reads nothing into the text: what is no host is refused where targets are read.
func siteOf(host string, dst netip.AddrPort) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	} else {
		host = strings.Trim(host, "[]")
	}
	if host == "" && dst.Addr().IsValid() { // HTTP/1.0 knows no Host
		host = dst.Addr().String()
	}
	if dst.Port() == 80 && strings.Contains(host, ":") {
		return "[" + host + "]"
	} else if dst.Port() == 80 {
		return host
	}
	return net.JoinHostPort(host, strconv.Itoa(int(dst.Port())))
}

// serveTLS takes connections from a transparent TLS listener until it is closed.
func (s *Server) serveTLS(l net.Listener) error { return s.acceptFrom(l, s.startTransparent) }

// acceptFrom takes connections until the listener is closed. When there are no
// descriptors it waits a little, for they come back (F14).
func (s *Server) acceptFrom(l net.Listener, begin func(net.Conn)) error {
	if s.enter(l, begin) {
		return http.ErrServerClosed
	}
	wait := time.Duration(0)
	for {
		conn, err := l.Accept()
		switch {
		case err == nil:
			wait = 0
			begin(conn)
		case errors.Is(err, net.ErrClosed):
			return http.ErrServerClosed
		default:
			wait = min(max(2*wait, 5*time.Millisecond), time.Second)
			select {
			case <-time.After(wait):
			case <-s.life.Done():
				return http.ErrServerClosed
			}
		}
	}
}

func (s *Server) startTransparent(conn net.Conn) {
	p, ok := conn.(*peer)
	if !ok {
		conn.Close()
		return
	}
	tn := &tunnel{server: s, client: conn, prelude: &prelude{target: s.transparentTarget(p.addr, p.dst), early: p.ahead, known: p.known}}
	p.ahead, p.known = nil, nil
	if run := s.tunnels.enter(tn, tn.runTransparent); run != nil {
		s.crew.run(run)
	} else {
		tn.close()
	}
}

// transparentTarget is what a connection asks for until a name is known.
func (s *Server) transparentTarget(client netip.Addr, dst netip.AddrPort) target {
	t := target{Request: policy.Request{Door: policy.DoorTLS, Client: client}, ports: s.tunnelPort}
	t.port, t.dst = dst.Port(), dst.Addr()
	t.Host = hostOfAddr(dst.Addr())
	return t
}

// runTransparent peeks, decides by the server name, dials that name and relays.
func (tn *tunnel) runTransparent() {
	hello, ok := tn.peek()
	if !ok {
		return
	}
	allowed := tn.admitTransparent(&hello)
	tn.sight = tn.server.look(&tn.target, &tn.outcome)
	if tn.sight == paged {
		tn.judged.Store(&[]target{tn.target})
	}
	switch {
	case !allowed && tn.sight != paged, tn.sight == spliced && !tn.reach():
		tn.client.Write(alertAccessDenied) // the connection is closed either way
		return
	}
	tn.carry(&hello)
}

// admitTransparent decides on the name in the hello. Without one it decides on
// the names that this client was given for the address, all of which must be
// allowed; without those on the bare address, which a pupil may not have (Y15,
// Y20).
func (tn *tunnel) admitTransparent(hello *sniff.Hello) bool {
	s := tn.server
	s.metrics.wellHello.Inc()
	targets := tn.named(hello)
	for i, t := range targets {
		if i > 0 {
			r := s.decide(&t)
			if wanted := s.wanted(&t, &r); wanted && !targets[0].wanted && s.able(&t) {
				t.refuse(policy.ReasonProtocol, findingNoSNI, 0) // its inside would pass as that of the first
			} else if targets[i].wanted = wanted; r.Verdict == policy.Allow {
				continue // the one event is for the name dialled, or for the one refused
			}
		}
		o := tn.judge(t)
		targets[i].wanted = s.wanted(&t, &o.ruling)
		if i == 0 || !o.allowed() {
			tn.target, tn.outcome = t, o
		}
		if !o.allowed() {
			return false
		}
	}
	tn.judged.Store(&targets)
	return true
}

// judge judges what is asked for, unless it is known what became of that.
func (tn *tunnel) judge(t target) outcome {
	if tn.known != nil {
		return tn.known.outcome
	}
	return tn.server.judgeTunnel(t)
}

// named is what the connection asks for: one target for a server name, one for
// each name remembered, or the bare address.
func (tn *tunnel) named(hello *sniff.Hello) []target {
	t := tn.target
	if hello.SNI != "" {
		host, err := policy.ParseHost(hello.SNI)
		t.Host = host
		if err != nil {
			t.refuse(policy.ReasonBadHost, findingMalformed, 0)
		} else if tn.server.hides(hello, &t) {
			t.finding = findingECH
			if tn.server.decide(&t).Band().Pupil() {
				t.refuse(policy.ReasonProtocol, findingECH, 0)
			}
		}
		return []target{t}
	}
	t.finding = findingNoSNI
	var list []target
	if tn.server.memory != nil && t.dst.IsValid() {
		for _, name := range tn.server.memory.Names(t.Client, t.dst, now()) {
			if host, err := policy.ParseHost(name); err == nil {
				t.Host = host
				list = append(list, t)
			}
		}
	}
	if len(list) == 0 {
		return []target{t}
	}
	return list
}

// reach dials what was allowed.
func (tn *tunnel) reach() bool {
	origin, err := tn.server.dialKnown(tn.server.life, tn.outcome.route, tn.known)
	if err != nil {
		tn.server.metrics.dialFailed(err)
		return false
	}
	return tn.swap(origin)
}

// elsewhere reports whether a transparent connection was meant for an address
// that the name it shows does not lead to: told in the record, and never dialled.
func (s *Server) elsewhere(t *target, addrs []netip.Addr) bool {
	if !t.dst.IsValid() || s.memory == nil {
		return false // with no memory of answers, an old answer looks the same
	}
	for _, a := range addrs {
		if a == t.dst {
			return false
		}
	}
	for _, name := range s.memory.Names(t.Client, t.dst, now()) {
		if h, err := policy.ParseHost(name); err == nil && h == t.Host {
			return false
		}
	}
	return true
}

// nowhere reports whether a pupil's connection shows a name that there is not, and
// that it was never given for the address it goes to: the name is made up, and the
// address is what was meant, as with the relays of Tor (Y10).
func (s *Server) nowhere(t *target, o *outcome, err error) bool {
	var unknown *net.DNSError
	return t.dst.IsValid() && o.ruling.Band().Pupil() && onNoList(o.ruling.Reason) &&
		errors.As(err, &unknown) && unknown.IsNotFound && s.elsewhere(t, nil)
}

// hostOfAddr is an address as a host; none for no address.
func hostOfAddr(a netip.Addr) policy.Host {
	if !a.IsValid() {
		return policy.Host{}
	}
	h, err := policy.ParseHost(a.String())
	if err != nil {
		return policy.Host{} // an address with a zone, say: no host is refused
	}
	return h
}
