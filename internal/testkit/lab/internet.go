package lab

import (
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// The hosts of the lab's internet: the last part of 203.0.113.x and 2001:db8:77::x.
const (
	hostAllowed  = "10" // allowed.example, www.allowed.example
	hostBlocked  = "11" // blocked.example
	hostOther    = "12" // other.example: allowed, shares nothing
	hostFront    = "13" // takes TLS for others behind encrypted hellos
	hostCarrier  = "14" // what fetches pages for others, and may carry anything
	hostSearch   = "15" // search engines and YouTube as they are
	hostSafe     = "16" // the same held to what is safe
	hostAnything = "20" // answers on every port of TCP and UDP
	hostMail     = "25" // mail.example
	hostMailer   = "26" // takes the school's mail
	hostResolver = "53" // the resolver that the box asks
	hostLiar     = "54" // a name server that sends everybody to hostAnything
	hostDoH      = "8"  // doh.example: DNS over HTTPS, over TLS and over QUIC's ports
)

var internetHosts = []string{
	hostAllowed, hostBlocked, hostOther, hostFront, hostCarrier, hostSearch, hostSafe, hostAnything, hostMail, hostMailer, hostResolver, hostLiar, hostDoH,
}

// lookAlikeSite is staffroom.example with a Cyrillic o.
const lookAlikeSite = "xn--staffrom-sbh"

var sites = map[string]string{
	"allowed.example": hostAllowed, "www.allowed.example": hostAllowed,
	"blocked.example": hostBlocked, "www.blocked.example": hostBlocked,
	"other.example": hostOther, "doh.example": hostDoH, "mail.example": hostMail,
	"staffroom.example": hostOther, lookAlikeSite: hostOther, "flagged.example": hostBlocked, "later.example": hostOther, "pages.example": hostOther, "hidden.example": hostFront, "unlisted-front.example": hostFront, "cloudflare-ech.com": hostFront,
	"wpad.school.test": hostAnything,
	// Names that the product knows stand for themselves; nothing of them leaves the lab.
	"translate.google.com": hostCarrier, "blocked-example.translate.goog": hostCarrier, "webcache.googleusercontent.com": hostCarrier, "web.archive.org": hostCarrier,
	"archive.ph": hostCarrier, "blocked-example.cdn.ampproject.org": hostCarrier, "cc.bingj.com": hostCarrier, "www.translatetheweb.com": hostCarrier,
	"view.officeapps.live.com": hostCarrier, "images.weserv.nl": hostCarrier, "i0.wp.com": hostCarrier, "r.jina.ai": hostCarrier,
	"carrier.example": hostCarrier, "hosting.example": hostCarrier, "open-hosting.example": hostCarrier, "data.example": hostCarrier,
	"www.google.co.uk": hostSearch, "www.youtube.com": hostSearch, "www.bing.com": hostSearch, "duckduckgo.com": hostSearch, "yandex.com": hostSearch,
	"forcesafesearch.google.com": hostSafe, "restrict.youtube.com": hostSafe, "strict.bing.com": hostSafe, "safe.duckduckgo.com": hostSafe,
}

// below is the host of names below these, where there are many.
var below = map[string]string{".hosting.example": hostCarrier, ".open-hosting.example": hostCarrier, ".data.example": hostCarrier}

// siteOf is the host of a name, "" for none.
func siteOf(name string) string {
	if host, ok := sites[name]; ok {
		return host
	}
	for suffix, host := range below {
		if strings.HasSuffix(name, suffix) {
			return host
		}
	}
	return ""
}

// Address is the address of a host of the internet.
func Address(host string, v6 bool) string {
	if v6 {
		return "2001:db8:77::" + host
	}
	return "203.0.113." + host
}

// At is Address with a port.
func At(host string, v6 bool, port int) string {
	return net.JoinHostPort(Address(host, v6), fmt.Sprint(port))
}

const (
	// greeting is what the internet answers on any port.
	greeting = "the internet"
	// originHeader names the host that wrote a page.
	originHeader = "X-Lab-Origin"
	catchAll     = 9999
)

// internet is everything beyond the gateway.
type internet struct {
	*namespace
	ech   *encryptedHello
	mu    sync.Mutex
	asked map[string]int // names asked of the resolver or the liar
}

// start makes the servers run until the test ends.
func (n *internet) start(authority *Authority) {
	n.asked = map[string]int{}
	n.nameServer(hostResolver, n.resolve)
	n.nameServer(hostLiar, n.lie)
	n.ech = newEncryptedHello(n.t, "unlisted-front.example", "cloudflare-ech.com")
	for _, host := range []string{hostAllowed, hostBlocked, hostOther, hostFront, hostCarrier, hostSearch, hostSafe} {
		n.site(authority, host, n.pages(host))
	}
	n.site(authority, hostDoH, n.dnsOverHTTPS())
	n.everyPort()
	for _, protocol := range protocols {
		n.protocol("ip4", protocol)
		n.protocol("ip6", protocol)
	}
	// Ports that nobody serves by name are all answered.
	n.run("nft", `table inet lab { chain everywhere { type nat hook prerouting priority dstnat;
		ip daddr { `+Address(hostAnything, false)+", "+Address(hostMail, false)+", "+Address(hostDoH, false)+` } jump any
		ip6 daddr { `+Address(hostAnything, true)+", "+Address(hostMail, true)+", "+Address(hostDoH, true)+` } jump any
		}
		chain any { }
		}`)
	n.run("nft", fmt.Sprintf(`add rule inet lab any tcp dport != 443 redirect to :%d`, catchAll))
	n.run("nft", fmt.Sprintf(`add rule inet lab any meta l4proto udp redirect to :%d`, catchAll))
}

// serve runs f until the test ends; stop makes it end.
func (n *internet) serve(f func(), stop func() error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	n.t.Cleanup(func() {
		_ = stop() // it may have ended by itself
		<-done
	})
}

func (n *internet) nameServer(host string, answer dns.HandlerFunc) {
	for _, v6 := range []bool{false, true} {
		udp := &dns.Server{PacketConn: n.listenPacket("udp", At(host, v6, 53)), Handler: answer}
		tcp := &dns.Server{Listener: n.listen("tcp", At(host, v6, 53)), Handler: answer}
		for _, s := range []*dns.Server{udp, tcp} {
			started := make(chan struct{})
			s.NotifyStartedFunc = func() { close(started) }
			n.serve(func() { _ = s.ActivateAndServe() }, s.Shutdown)
			<-started
		}
	}
}

func (n *internet) count(what string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked[what]++
}

// Count is how often something was asked for out there.
func (n *internet) Count(what string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.asked[what]
}

// requests are what was asked of sites of these names; of none, all of them.
func (n *internet) requests(names ...string) (list []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for what := range n.asked {
		request, ok := strings.CutPrefix(what, "request ")
		name, _, _ := strings.Cut(request, "/")
		if ok && (len(names) == 0 || slices.Contains(names, name)) {
			list = append(list, request)
		}
	}
	slices.Sort(list)
	return list
}

// resolve answers for the sites of the lab.
func (n *internet) resolve(w dns.ResponseWriter, q *dns.Msg) {
	name := strings.TrimSuffix(strings.ToLower(q.Question[0].Name), ".")
	n.count("resolver " + name)
	m := n.answer(q, siteOf(name))
	if name == "hidden.example" && q.Question[0].Qtype == dns.TypeHTTPS {
		m.Answer = n.ech.records(q.Question[0].Name)
	}
	_ = w.WriteMsg(m) // whoever is gone needs no answer
}

// lie sends everybody to one host.
func (n *internet) lie(w dns.ResponseWriter, q *dns.Msg) {
	n.count("liar " + strings.TrimSuffix(strings.ToLower(q.Question[0].Name), "."))
	_ = w.WriteMsg(n.answer(q, hostAnything)) // as above
}

func (n *internet) answer(q *dns.Msg, host string) *dns.Msg {
	m := new(dns.Msg).SetReply(q)
	m.RecursionAvailable = true
	h := dns.RR_Header{Name: q.Question[0].Name, Rrtype: q.Question[0].Qtype, Class: dns.ClassINET, Ttl: 60}
	switch {
	case host == "":
		m.Rcode = dns.RcodeNameError
	case h.Rrtype == dns.TypeA:
		m.Answer = []dns.RR{&dns.A{Hdr: h, A: net.ParseIP(Address(host, false))}}
	case h.Rrtype == dns.TypeAAAA:
		m.Answer = []dns.RR{&dns.AAAA{Hdr: h, AAAA: net.ParseIP(Address(host, true))}}
	case h.Rrtype == dns.TypeTXT && host == hostCarrier:
		m.Answer = []dns.RR{&dns.TXT{Hdr: h, Txt: []string{greeting}}}
	}
	return m
}

// site serves HTTP on 80 and HTTP/1.1 and HTTP/2 on 443.
func (n *internet) site(authority *Authority, host string, h http.Handler) {
	names := []string{Address(host, false), Address(host, true)}
	for name, at := range sites {
		if at == host || at == hostSearch && host == hostSafe {
			names = append(names, name)
		}
	}
	for suffix, at := range below {
		if at == host {
			names = append(names, "*"+suffix)
		}
	}
	config := &tls.Config{Certificates: []tls.Certificate{authority.leaf(n.t, names...)}, NextProtos: []string{"h2", "http/1.1"}}
	config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		n.count("hello " + host)
		if slices.Contains(hello.Extensions, extensionECH) {
			n.count("ech hello " + host)
		}
		return nil, nil
	}
	if host == hostFront {
		config.EncryptedClientHelloKeys = n.ech.keys
	}
	for _, v6 := range []bool{false, true} {
		for _, port := range []int{80, 443} {
			if port == 80 && host == hostDoH {
				continue
			}
			l := n.listen("tcp", At(host, v6, port))
			server := &http.Server{Handler: h, ReadHeaderTimeout: longTime, TLSConfig: config.Clone(), ErrorLog: log.New(io.Discard, "", 0)}
			if port == 443 {
				n.serve(func() { _ = server.ServeTLS(l, "", "") }, server.Close)
			} else {
				n.serve(func() { _ = server.Serve(l) }, server.Close)
			}
		}
	}
}

// dnsOverHTTPS answers any question, truthfully: that is what makes it a way round.
func (n *internet) dnsOverHTTPS() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n.count("doh")
		w.Header().Set(originHeader, hostDoH)
		body, err := io.ReadAll(io.LimitReader(r.Body, 4096))
		q := new(dns.Msg)
		if err != nil || q.Unpack(body) != nil || len(q.Question) != 1 {
			http.Error(w, "no question", http.StatusBadRequest)
			return
		}
		packed, err := n.answer(q, sites[strings.TrimSuffix(q.Question[0].Name, ".")]).Pack()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/dns-message")
		_, _ = w.Write(packed) // whoever is gone needs no answer
	})
}

// everyPort greets whoever comes, over TCP and UDP.
func (n *internet) everyPort() {
	at := fmt.Sprintf("[::]:%d", catchAll)
	l, p := n.listen("tcp", at), n.listenPacket("udp", at)
	n.serve(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_ = conn.SetDeadline(time.Now().Add(longTime)) // an error shows at the write
			_, _ = io.WriteString(conn, greeting)
			_ = conn.Close()
		}
	}, l.Close)
	n.serve(func() {
		buf := make([]byte, 2048)
		for {
			_, from, err := p.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = p.WriteTo([]byte(greeting), from) // as above
		}
	}, p.Close)
}

// protocols are those without ports that the internet answers: IPv6 in IP, GRE, ESP
// and SCTP.
var protocols = []int{41, 47, 50, 132}

func (n *internet) protocol(network string, protocol int) {
	conn := n.listenPacket(fmt.Sprintf("%s:%d", network, protocol), Address(hostAnything, network == "ip6"))
	n.serve(func() {
		buf := make([]byte, 2048)
		for {
			_, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = conn.WriteTo([]byte(greeting), from) // whoever is gone needs no answer
		}
	}, conn.Close)
}
