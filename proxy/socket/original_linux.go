package socket

import (
	"encoding/binary"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Original is where a connection was meant to go before the gateway's rules
// redirected it to us; false if nothing redirected it.
func Original(conn net.Conn) (netip.AddrPort, bool) {
	tcp := TCP(conn)
	if tcp == nil {
		return netip.AddrPort{}, false
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return netip.AddrPort{}, false
	}
	local, ok := tcp.LocalAddr().(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}, false
	}
	six := local.AddrPort().Addr().Unmap().Is6()
	var dst netip.AddrPort
	err = raw.Control(func(fd uintptr) { dst, _ = OriginalOf(int(fd), six) })
	return dst, err == nil && dst.IsValid()
}

// OriginalOf is Original for a descriptor; six says that the socket's own address is one
// of IPv6, which one that stands for IPv4 is not.
func OriginalOf(fd int, six bool) (netip.AddrPort, bool) {
	var dst netip.AddrPort
	if six {
		dst = redirected6(fd)
	} else {
		dst = redirected4(fd)
	}
	return dst, dst.IsValid()
}

// redirected4 asks for a sockaddr_in, which is as long as the multicast request
// that x/sys reads here: family, port, address.
func redirected4(fd int) netip.AddrPort {
	got, err := unix.GetsockoptIPv6Mreq(fd, unix.SOL_IP, unix.SO_ORIGINAL_DST)
	if err != nil {
		return netip.AddrPort{} // no entry in the kernel's table of connections
	}
	b := got.Multiaddr
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), binary.BigEndian.Uint16(b[2:4]))
}

// redirected6 asks for a sockaddr_in6, with which the answer read here begins.
// Its port is in network order, read as a number of this machine.
func redirected6(fd int) netip.AddrPort {
	got, err := unix.GetsockoptIPv6MTUInfo(fd, unix.SOL_IPV6, unix.SO_ORIGINAL_DST)
	if err != nil {
		return netip.AddrPort{}
	}
	var port [2]byte
	binary.NativeEndian.PutUint16(port[:], got.Addr.Port)
	return netip.AddrPortFrom(netip.AddrFrom16(got.Addr.Addr).Unmap(), binary.BigEndian.Uint16(port[:]))
}
