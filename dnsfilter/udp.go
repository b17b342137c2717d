package dnsfilter

import (
	"context"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	maxPacket  = 4096 // of a query; a longer one is cut by the kernel and does not read
	controlLen = 64

	// receiveBuffer holds a flood until it has been looked at and dropped, so that
	// it does not push out what others ask. The usual one is full in a millisecond.
	receiveBuffer = 8 << 20
)

// packets is one address bound for UDP, with a socket for each core.
type packets struct {
	addr  netip.AddrPort
	ports []*port
}

// port is one of the sockets.
type port struct {
	conn *net.UDPConn
	raw  syscall.RawConn
	any  bool // bound to every address of the box: the answer must leave from the one that was asked
}

func listenPackets(addr string) (*packets, error) {
	p := &packets{}
	for range runtime.GOMAXPROCS(0) {
		lc := net.ListenConfig{Control: setOptions}
		conn, err := lc.ListenPacket(context.Background(), "udp", addr)
		if err != nil {
			p.close()
			return nil, err
		}
		p.addr = conn.LocalAddr().(*net.UDPAddr).AddrPort()
		addr = p.addr.String() // the others share what the first one got
		port := &port{conn: conn.(*net.UDPConn), any: p.addr.Addr().IsUnspecified()}
		p.ports = append(p.ports, port)
		if port.raw, err = port.conn.SyscallConn(); err != nil {
			p.close()
			return nil, err
		}
	}
	return p, nil
}

// setOptions lets the sockets share the port and tell the address each packet was
// sent to. The kernel gives every client to one of the sockets.
func setOptions(network, _ string, c syscall.RawConn) error {
	var err error
	if cerr := c.Control(func(fd uintptr) {
		if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) != nil {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer) // as much as we may
		}
		if err == nil {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
		}
		if err == nil && network == "udp6" {
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
		}
		if err == nil && network == "udp4" {
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
		}
	}); cerr != nil {
		return cerr
	}
	return os.NewSyscallError("setsockopt", err)
}

func (p *packets) serve(owner *sync.WaitGroup, loop func(*port)) {
	for _, port := range p.ports {
		owner.Go(func() { loop(port) })
	}
}

// stop ends the reading; what is under way still leaves by the sockets.
func (p *packets) stop() {
	for _, port := range p.ports {
		_ = port.conn.SetReadDeadline(time.Unix(1, 0))
	}
}

func (p *packets) close() {
	for _, port := range p.ports {
		_ = port.conn.Close()
	}
}

// sendPacket sends the answer to a packet that had to wait.
func (s *Server) sendPacket(p *port, j *job) {
	control := j.control
	if !p.any {
		control = nil
	}
	if _, _, err := p.conn.WriteMsgUDPAddrPort(j.buf, control, j.peer); err != nil {
		// The client is gone, or the way to it: it asks again.
		s.metrics.dropped.WithLabelValues("send").Inc()
	}
}
