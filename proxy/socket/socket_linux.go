package socket

import (
	"errors"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// socketOf is the socket under whatever lies on it, or nil.
func socketOf(c net.Conn) syscall.RawConn {
	for {
		switch under := c.(type) {
		case *net.TCPConn:
			raw, err := under.SyscallConn()
			if err != nil {
				return nil
			}
			return raw
		case interface{ NetConn() net.Conn }: // TLS, and whatever of ours lies on another
			c = under.NetConn()
		default:
			return nil
		}
	}
}

// KeepAliveConfig has the kernel find clients that are no longer there (half-open
// sockets): a minute of silence, then four questions 20 seconds apart.
var KeepAliveConfig = net.KeepAliveConfig{Enable: true, Idle: 60 * time.Second, Interval: 20 * time.Second, Count: 4}

// KeepAlive sets it on a listener, from which what is accepted inherits it.
func KeepAlive(_, _ string, c syscall.RawConn) error {
	k := KeepAliveConfig
	var err error
	set := func(fd uintptr) {
		for _, o := range [][3]int{
			{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1}, {unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, int(k.Idle.Seconds())},
			{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, int(k.Interval.Seconds())}, {unix.IPPROTO_TCP, unix.TCP_KEEPCNT, k.Count},
		} {
			err = errors.Join(err, unix.SetsockoptInt(int(fd), o[0], o[1], o[2]))
		}
	}
	return errors.Join(c.Control(set), err)
}

// Quiet reports whether an idle connection is open and nothing came on it.
func Quiet(c net.Conn) bool {
	raw := socketOf(c)
	if raw == nil {
		return false
	}
	still := false
	err := raw.Control(func(fd uintptr) {
		var one [1]byte
		_, _, err := unix.Recvfrom(int(fd), one[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		still = err == unix.EAGAIN
	})
	return err == nil && still
}

// HungUp reports whether the other side has closed its half, or all.
func HungUp(c net.Conn) bool {
	raw := socketOf(c)
	if raw == nil {
		return false
	}
	gone := false
	err := raw.Control(func(fd uintptr) {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		n, err := unix.Poll(fds, 0)
		gone = err == nil && n > 0 && fds[0].Revents != 0
	})
	return err != nil || gone
}
