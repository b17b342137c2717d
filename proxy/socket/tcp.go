package socket

import (
	"net"
	"time"
)

// TCP is the socket under a connection, nil where something lies between that must see
// what passes. A connection that lies on one and need not see it says so by a method of
// that name.
func TCP(c net.Conn) *net.TCPConn {
	switch c := c.(type) {
	case *net.TCPConn:
		return c
	case interface{ TCP() *net.TCPConn }:
		return c.TCP()
	}
	return nil
}

// CloseWrite ends our half of a connection, or all of it where there are no
// halves.
func CloseWrite(c net.Conn) error {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Close()
}

// Near reports whether a deadline in force is as good as the one wanted, d from now: to
// move it for each read costs more than most of what is done for that.
func Near(have, want time.Time, d time.Duration) bool {
	ahead := want.Sub(have)
	return ahead >= 0 && ahead < min(time.Second, d/8)
}
