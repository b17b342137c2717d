package proxy

import (
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"

	"schoolgate/policy"
)

// methods are what plain HTTP carries. TRACE would show an origin's view of the
// request, CONNECT has its own way, the rest is nothing a browser sends.
var methods = []string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut,
	http.MethodPatch, http.MethodDelete, http.MethodOptions,
}

// clientOf begins a request with who asks: the address of the connection, and
// nothing that a header says. Without one it is an unknown client.
func clientOf(r *http.Request) policy.Request {
	q := policy.Request{}
	if p := peerOf(r.Context()); p != nil {
		q.Client = p.addr
	}
	return q
}

// plainTarget reads an absolute-form request. The URL alone says where it goes:
// Go has dropped the Host header already, as RFC 9112 section 3.2.2 asks, and
// the one sent on is made from the URL.
func (s *Server) plainTarget(r *http.Request) target {
	t := target{Request: clientOf(r), method: knownMethod(r.Method), use: useOf(r), port: 80, ports: s.plainPort}
	t.Door = policy.DoorHTTP
	u, err := policy.ParseURL(r.RequestURI)
	t.Host, t.Path = u.Host, u.Path
	if u.Port != 0 {
		t.port = u.Port
	}
	// Go's parser sends the request on, so it must have read the same host (Y16).
	again, errAgain := policy.ParseHost(r.URL.Hostname())
	switch {
	case err != nil || errAgain != nil || again != t.Host || r.URL.Opaque != "":
		t.refuse(policy.ReasonBadHost, findingMalformed, http.StatusBadRequest)
	case r.URL.User != nil:
		t.refuse(policy.ReasonBadHost, findingUserinfo, http.StatusBadRequest)
	case r.URL.Scheme != "http":
		t.refuse(policy.ReasonProtocol, findingScheme, http.StatusBadRequest)
	case !slices.Contains(methods, r.Method):
		t.refuse(policy.ReasonProtocol, findingMethod, http.StatusMethodNotAllowed)
	}
	return t
}

// connectTarget reads the authority of a CONNECT request, which must name a port.
func (s *Server) connectTarget(r *http.Request) target {
	t := target{Request: clientOf(r), method: http.MethodConnect, ports: s.tunnelPort}
	t.Door = policy.DoorCONNECT
	name, port, err := net.SplitHostPort(r.RequestURI)
	if err == nil {
		t.port = portNumber(port)
		t.Host, err = policy.ParseHost(name)
	}
	if err != nil || strings.ContainsAny(name, "@/%\\") {
		t.refuse(policy.ReasonBadHost, findingMalformed, http.StatusBadRequest)
	}
	return t
}

func (t *target) refuse(why policy.Reason, finding string, status int) {
	t.refused, t.finding, t.status = why, finding, status
}

// plainPort: 80, the configured ones, and any port of a range that the school
// opened, since what an intranet serves is often on another.
func (s *Server) plainPort(port uint16, listed bool) bool {
	return port == 80 || listed && port != 0 || slices.Contains(s.httpPorts, port)
}

// tunnelPort: 443 and the configured ones, wherever they lead (Y9).
func (s *Server) tunnelPort(port uint16, _ bool) bool {
	return port == 443 || slices.Contains(s.connectPorts, port)
}

// portNumber is 0 for what is no port, which no rule carries.
func portNumber(s string) uint16 {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		return 0
	}
	return uint16(n)
}

// knownMethod keeps a client's free text out of the record.
func knownMethod(m string) string {
	if slices.Contains(methods, m) || m == http.MethodTrace {
		return m
	}
	return "OTHER"
}

// hopByHop are headers for one connection only (RFC 9110 section 7.6.1).
var hopByHop = []string{
	"Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization",
	"Proxy-Authentication-Info", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Http2-Settings",
}

// ofClient are headers that claim or tell who the client is. None is believed
// and none leaves the building (T20, privacy 1). Via is among them: it would
// tell the world of the filter, and nginx stops compressing for it.
var ofClient = []string{
	"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port",
	"X-Real-Ip", "X-Client-Ip", "Client-Ip", "True-Client-Ip", "X-Originating-Ip", "Via", EventHeader,
}

// foreign takes from a header of an origin, wherever it stands, what an origin may not say:
// what is between two neighbours, a way round by HTTP/3 (Y7), a reference of ours.
func foreign(h http.Header) {
	removeHopByHop(h)
	delete(h, "Alt-Svc")
	delete(h, EventHeader)
}

// unclaimed takes from a header of a client what it may not say: what is between two
// neighbours, and who it is.
func unclaimed(h http.Header) {
	removeHopByHop(h)
	for _, name := range ofClient {
		delete(h, name)
	}
}

// unclaimedTrailer is unclaimed for trailers, which some servers read like a head: what
// only the school sets there, and where the request goes, they do not say either.
func unclaimedTrailer(h http.Header) {
	unclaimed(h)
	for _, name := range ofSchool {
		delete(h, name)
	}
	delete(h, "Host")
}

func removeHopByHop(h http.Header) {
	for _, line := range h["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			h.Del(strings.TrimSpace(name))
		}
	}
	for _, name := range hopByHop {
		delete(h, name)
	}
}

// outgoing makes r the request that goes to the origin: to the host that was
// decided, written in one way only.
func outgoing(r *http.Request, t *target, ruling *policy.Ruling) {
	trailers := httpguts.HeaderValuesContainsToken(r.Header["Te"], "trailers")
	unclaimed(r.Header)
	unclaimedTrailer(r.Trailer)
	if trailers {
		r.Header.Set("Te", "trailers") // the one value that may travel
	}
	if _, sent := r.Header["User-Agent"]; !sent {
		r.Header["User-Agent"] = nil // or Go would add its own
	}
	usual := usualPort(t.Door)
	r.Host, r.Close = authority(t.Host, t.port, usual), false
	u := *r.URL
	u.User, u.Fragment, u.RawFragment = nil, "", ""
	u.Host = poolName(t, ruling, usual)
	r.URL = &u
}

// poolName is by what idle connections to an origin are shared. A safe host has
// connections of its own: not those to the site itself, and inside TLS not those
// that were believed for another name.
func poolName(t *target, ruling *policy.Ruling, usual uint16) string {
	switch {
	case ruling.Safe.IsZero():
		return authority(t.Host, t.port, usual)
	case t.Door == policy.DoorInspect:
		return t.Host.String() + ".by." + authority(ruling.Safe, t.port, usual)
	}
	return authority(ruling.Safe, t.port, usual)
}

func authority(h policy.Host, port, usual uint16) string {
	name := h.String()
	if a, ok := h.Addr(); ok && a.Is6() {
		name = "[" + name + "]"
	}
	if port == usual {
		return name
	}
	return name + ":" + strconv.Itoa(int(port))
}

// isUpgrade reports whether r asks for a WebSocket. Other upgrades (h2c) are not
// carried: the header is dropped and the request goes on as it is.
func isUpgrade(r *http.Request) bool {
	return r.Method == http.MethodGet && httpguts.HeaderValuesContainsToken(r.Header["Connection"], "upgrade") &&
		strings.EqualFold(r.Header.Get("Upgrade"), "websocket") && r.ContentLength == 0
}
