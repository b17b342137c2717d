//go:build !linux

package proxy

import (
	"net"
	"net/netip"
)

// redirected is where a connection was meant to go; only Linux tells.
func redirected(net.Conn) (netip.AddrPort, bool) { return netip.AddrPort{}, false }
