package proxy

import (
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"

	"schoolgate/policy"
)

// serveOwn answers requests for the proxy itself: browsers fetch their settings
// here. Nothing of the request is shown or believed.
func (s *Server) serveOwn(w http.ResponseWriter, r *http.Request) {
	h, status, body := http.Header{}, http.StatusNotFound, "This is the school's web filter. There is no page here.\n"
	h.Set("Content-Type", "text/plain; charset=utf-8")
	if asksSettings(r) {
		if text, ok := s.pac(r); ok {
			status, body = http.StatusOK, text
			h.Set("Content-Type", "application/x-ns-proxy-autoconfig")
		}
	}
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	if err := send(w, ownResponse(r, status, h, []byte(body))); err != nil {
		s.log.Debug("own answer not sent", "err", err)
	}
}

// asksSettings reports whether a request is for the browser's proxy settings.
func asksSettings(r *http.Request) bool {
	return r.URL.Path == "/proxy.pac" || r.URL.Path == "/wpad.dat"
}

// asksWPAD reports whether a request is for the settings that a browser looks for by
// itself, at a host named wpad on port 80. They are ours to give: whoever else
// answered would have every request of the device.
func asksWPAD(r *http.Request) bool {
	host, _, _ := strings.Cut(strings.ToLower(r.Host), ":")
	return r.URL.Path == "/wpad.dat" && (host == "wpad" || strings.HasPrefix(host, "wpad."))
}

// pac sends everything to the proxy and nothing round it: there is no DIRECT, not for
// names of the school's own either (4.6). It names the address that the browser
// reached us at, and on devices where people sign in the proxy inside TLS.
func (s *Server) pac(r *http.Request) (text string, ok bool) {
	addr, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if addr == nil {
		return "", false
	}
	self, way, port := addrPort(addr), "PROXY", s.portOf(false)
	name := self.Addr().String()
	who := clientOf(r)
	who.Time = now()
	if p := s.decider.Decide(who).Profile; p != nil && p.SignIn != policy.NoSignIn && s.portOf(true) != 0 {
		way, port = "HTTPS", s.portOf(true)
		if !s.name.IsZero() {
			name = s.name.String()
		}
	}
	if port == 0 {
		return "", false
	}
	proxy := net.JoinHostPort(name, strconv.Itoa(int(port)))
	return fmt.Sprintf("function FindProxyForURL(url, host) { return \"%s %s\"; }\n", way, proxy), true
}

// portOf is the port of the explicit proxy, in clear or inside TLS; 0 for none.
func (s *Server) portOf(secure bool) uint16 {
	for _, d := range s.doors {
		if l, ok := d.listener.(*listener); ok && l.kind.proxy && l.kind.secure == secure {
			return addrPort(l.Addr()).Port()
		}
	}
	return 0
}

// pressed is the button of a block page that a request is a press of; nil for none.
func (s *Server) pressed(r *http.Request) Button {
	if r.Method != http.MethodPost {
		return nil
	}
	return s.buttons[r.URL.Path]
}

// servePage answers at the sinkhole: the DNS door sent a blocked name here, and
// the person behind the browser is told why. The name is decided anew for that
// client, so the page is the right one even if the lists have changed since.
func (s *Server) servePage(w http.ResponseWriter, r *http.Request) {
	if !s.serving.enter() {
		panic(http.ErrAbortHandler)
	}
	defer s.serving.leave()
	if asksWPAD(r) {
		s.serveOwn(w, r)
		return
	}
	x := &exchange{writer: newPromptWriter(w, s.limits.IdleStream)}
	defer s.closeExchange(x, r)
	if press := s.pressed(r); press != nil {
		press(x.writer, r, clientOf(r).Client)
		return
	}
	t := target{Request: clientOf(r), method: knownMethod(r.Method), use: useOf(r)}
	t.Door, t.Time = policy.DoorHTTP, now()
	u, err := policy.ParseURL("http://" + r.Host + r.URL.RequestURI())
	t.Host, t.Path = u.Host, u.Path
	if err != nil || r.Host == "" {
		t.refuse(policy.ReasonBadHost, findingMalformed, http.StatusBadRequest)
	}
	o := outcome{ruling: s.decide(&t)}
	// An allowed name has no business here: its answer in the browser's cache is
	// old, and the page says to try again.
	s.describe(&t, &o, http.StatusServiceUnavailable)
	s.seal(&o)
	s.reply(x, s.page(r, &o))
}
