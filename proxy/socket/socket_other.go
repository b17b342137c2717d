//go:build !linux

package socket

import (
	"net"
	"syscall"
)

// KeepAlive leaves what the system does by itself.
func KeepAlive(string, string, syscall.RawConn) error { return nil }

// Quiet cannot be known here: no connection is used twice.
func Quiet(net.Conn) bool { return false }

// HungUp cannot be known here: a client that has gone is found at the next write.
func HungUp(net.Conn) bool { return false }
