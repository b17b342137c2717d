//go:build !linux

package socket

import (
	"net"
	"net/netip"
)

// Original is where a connection was meant to go; only Linux tells.
func Original(net.Conn) (netip.AddrPort, bool) { return netip.AddrPort{}, false }
