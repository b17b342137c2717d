package proxy

import (
	"context"
	"net"
	"net/http"

	"github.com/elazarl/goproxy"

	"schoolgate/proxy/origins"
)

// onConnect is goproxy's question for a CONNECT: judge the name in it, reach the
// origin, and only then take the connection over. A refusal carries a page,
// though browsers show none for a tunnel; where the client trusts the school's
// authority the tunnel is accepted and the page shown inside.
func (s *Server) onConnect(host string, ctx *goproxy.ProxyCtx) (*goproxy.ConnectAction, string) {
	r := ctx.Req
	x := exchangeOf(r)
	t := s.connectTarget(r)
	s.signedIn(r, &t)
	known := peerOf(r.Context()).takeKnown()
	if known != nil {
		x.outcome = known.outcome
	} else {
		x.outcome = s.judge(r.Context(), t)
	}
	sight := s.look(&t, &x.outcome)
	tn := &tunnel{server: s, prelude: &prelude{target: t, outcome: x.outcome, sight: sight}}
	if !x.outcome.allowed() && tn.sight != paged {
		return s.reject(ctx, s.page(r, &x.outcome)), host
	}
	if tn.sight == spliced {
		origin, err := s.dialKnown(r.Context(), x.outcome.route, known)
		if err != nil {
			s.metrics.dialFailed(err)
			return s.reject(ctx, s.failed(r, &x.outcome, err)), host
		}
		tn.origin = origin
	}
	return &goproxy.ConnectAction{
		Action: goproxy.ConnectHijack,
		Hijack: func(_ *http.Request, client net.Conn, _ *goproxy.ProxyCtx) { s.accept(tn, x, client) },
	}, host
}

// dialKnown is dial where it may be known what comes of that.
func (s *Server) dialKnown(ctx context.Context, r origins.Route, known *verdict) (net.Conn, error) {
	if known != nil && known.failed != nil {
		return nil, known.failed
	}
	return s.origins.Dial(ctx, r)
}

// reject answers a CONNECT with resp and closes the connection.
func (s *Server) reject(ctx *goproxy.ProxyCtx, resp *http.Response) *goproxy.ConnectAction {
	resp.Close = true
	ctx.Resp = resp
	return &goproxy.ConnectAction{Action: goproxy.ConnectReject}
}

// accept says 200 and lets the tunnel run on its own, so that an idle one keeps
// nothing of the HTTP server alive.
func (s *Server) accept(tn *tunnel, x *exchange, client net.Conn) {
	tn.client, tn.early = client, x.writer.early
	if _, err := client.Write(tn.outcome.established()); err != nil || !s.start(tn, x, tn.runTLS) {
		tn.close()
	}
}

// established is the answer to a CONNECT that was accepted.
func (o *outcome) established() []byte {
	reply := []byte("HTTP/1.1 200 Connection established\r\n")
	if o.event.ID != 0 {
		reply = append(reply, EventHeader+": "+o.event.ID.String()+"\r\n"...)
	}
	return append(reply, "\r\n"...)
}
