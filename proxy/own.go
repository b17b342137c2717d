package proxy

import (
	"fmt"
	"net"
	"net/http"

	"schoolgate/policy"
)

// serveOwn answers requests for the proxy itself: browsers fetch their settings
// here. Nothing of the request is shown or believed.
func (s *Server) serveOwn(w http.ResponseWriter, r *http.Request) {
	h, status, body := http.Header{}, http.StatusNotFound, "This is the school's web filter. There is no page here.\n"
	h.Set("Content-Type", "text/plain; charset=utf-8")
	if r.URL.Path == "/proxy.pac" || r.URL.Path == "/wpad.dat" {
		if addr, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
			status, body = http.StatusOK, pac(addr)
			h.Set("Content-Type", "application/x-ns-proxy-autoconfig")
		}
	}
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	if err := send(w, ownResponse(r, status, h, []byte(body))); err != nil {
		s.log.Debug("own answer not sent", "err", err)
	}
}

// pac sends everything here and nothing round us: there is no DIRECT (4.6). It
// names the address that the browser reached us at.
func pac(self net.Addr) string {
	return fmt.Sprintf("function FindProxyForURL(url, host) { return \"PROXY %s\"; }\n", self)
}

// pressed reports whether a request is a press of the button on a block page.
func (s *Server) pressed(r *http.Request) bool {
	return s.button != nil && r.Method == http.MethodPost && r.URL.Path == s.tellPath
}

// servePage answers at the sinkhole: the DNS door sent a blocked name here, and
// the person behind the browser is told why. The name is decided anew for that
// client, so the page is the right one even if the lists have changed since.
func (s *Server) servePage(w http.ResponseWriter, r *http.Request) {
	if !s.serving.enter() {
		panic(http.ErrAbortHandler)
	}
	defer s.serving.leave()
	x := &exchange{writer: newPromptWriter(w, s.limits.IdleStream)}
	defer s.closeExchange(x, r)
	if s.pressed(r) {
		s.button(x.writer, r, clientOf(r).Client)
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
