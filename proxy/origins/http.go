package origins

import (
	"crypto/tls"
	"net"
	"net/http"
	"time"
)

// newTransport is the way to origins. It takes no proxy from the environment
// (G10), verifies (what is inside goes by dialTLS) and leaves encodings as they
// are.
func (o *Transport) newTransport() *http.Transport {
	return &http.Transport{
		Proxy:                  nil,
		DialContext:            o.dialRoute,
		DialTLSContext:         o.dialTLS,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		DisableCompression:     true,
		MaxIdleConns:           1024,
		MaxIdleConnsPerHost:    64,
		IdleConnTimeout:        90 * time.Second,
		ResponseHeaderTimeout:  o.config.Limits.OriginReply,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: 256 << 10,
		ForceAttemptHTTP2:      true,
		HTTP2: &http.HTTP2Config{
			MaxReceiveBufferPerStream: ReplyAhead,
			// A line that died says nothing. Everybody's requests to an origin share one
			// connection, and would all wait in vain for minutes: it is asked for a sign of
			// life, and given up before they are.
			SendPingTimeout:  o.config.Limits.OriginReply / 2,
			PingTimeout:      o.config.Limits.OriginReply / 3,
			WriteByteTimeout: o.config.Limits.IdleStream,
		},
	}
}

// ReplyAhead is how much of a reply an origin may send ahead of a client that does not
// take it, in bytes; net/http has 4 MiB, of each of many streams. It is what a fast line
// holds: 256 KiB in 20 ms is 100 Mbit/s for one reply.
const ReplyAhead = 256 << 10

// idleConn ends a connection to an origin on which nothing moves: the door waits
// on it without a deadline of its own.
type idleConn struct {
	net.Conn
	idle time.Duration
}

// NetConn is the connection to the origin.
func (c *idleConn) NetConn() net.Conn { return c.Conn }

func (c *idleConn) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(c.idle)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

func (c *idleConn) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.idle)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}
