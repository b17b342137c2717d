package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"

	"schoolgate/policy"
)

// upgrade carries a WebSocket on our own tunnel code: goproxy's leaves the
// client's side open for ever once the origin has gone (G6).
func (s *Server) upgrade(x *exchange, r *http.Request) {
	t := s.targetOf(r)
	x.outcome = s.weigh(r.Context(), &t)
	x.target = t
	if s.recordsFirst(r, &x.outcome) {
		s.seal(&x.outcome)
	}
	if !x.outcome.allowed() {
		s.reply(x, s.page(r, &x.outcome))
		return
	}
	outgoing(r, &t, &x.outcome.ruling)
	s.rewrite(r, &t, &x.outcome.ruling)
	if s.phrases != nil && !x.outcome.ruling.Scan.Empty() {
		readable(r.Header)
		unranged(r.Header) // a socket has no parts
	}
	r.Header["Connection"], r.Header["Upgrade"] = []string{"Upgrade"}, []string{"websocket"}
	origin, err := s.origins.Dial(r.Context(), x.outcome.route)
	if err != nil {
		s.metrics.dialFailed(err)
		s.reply(x, s.failed(r, &x.outcome, err))
		return
	}
	if t.Door == policy.DoorInspect {
		if origin, err = s.origins.Secure(r.Context(), origin, "http/1.1"); err != nil {
			s.reply(x, s.failed(r, &x.outcome, err))
			return
		}
	}
	resp, ahead, err := s.origins.Upgrade(origin, r)
	switch {
	case err != nil:
		origin.Close()
		s.reply(x, s.failed(r, &x.outcome, err))
	case resp.StatusCode != http.StatusSwitchingProtocols: // a reply like any other
		resp.Body = &refusalBody{resp.Body, origin}
		s.reply(x, s.received(x, r, resp))
		origin.Close()
	case !s.answered(x, resp):
		origin.Close()
		s.reply(x, s.page(r, &x.outcome))
	default:
		s.join(x, t, origin, ahead, resp)
	}
}

// refusalBody is the body of a reply to an upgrade that was refused. Closed, it closes
// its connection: the body itself would read on to its end, wherever that is.
type refusalBody struct {
	io.Reader
	io.Closer
}

func (s *Server) reply(x *exchange, resp *http.Response) {
	if err := send(x.writer, resp); err != nil {
		s.log.Debug("reply not sent whole", "err", err)
	}
}

// join hands both connections to a tunnel.
func (s *Server) join(x *exchange, t target, origin net.Conn, ahead []byte, resp *http.Response) {
	tn := &tunnel{server: s, origin: origin, prelude: &prelude{target: t, outcome: x.outcome, ahead: ahead}}
	client, _, err := x.writer.Hijack()
	if err != nil {
		origin.Close()
		s.log.Debug("client gone before its upgrade", "err", err)
		return
	}
	tn.client, tn.early = client, x.writer.early
	tn.judged.Store(&[]target{t})
	if err := writeSwitch(client, resp.Header, x); err != nil || !s.start(tn, x, tn.relay) {
		tn.close()
	}
}

func writeSwitch(w io.Writer, h http.Header, x *exchange) error {
	foreign(h)
	h["Connection"], h["Upgrade"] = []string{"Upgrade"}, []string{"websocket"}
	x.outcome.refer(h)
	buf := bufio.NewWriter(w)
	fmt.Fprint(buf, "HTTP/1.1 101 Switching Protocols\r\n")
	h.Write(buf)
	fmt.Fprint(buf, "\r\n")
	return buf.Flush() // reports the first error of all three
}
