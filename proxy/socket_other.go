//go:build !linux

package proxy

import (
	"net"
	"syscall"
)

// keepAlive leaves what the system does by itself.
func keepAlive(string, string, syscall.RawConn) error { return nil }

// quiet cannot be known here: no connection is used twice.
func quiet(net.Conn) bool { return false }

// hungUp cannot be known here: a client that has gone is found at the next write.
func hungUp(net.Conn) bool { return false }
