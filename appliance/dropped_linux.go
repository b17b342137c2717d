package appliance

import (
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// mayTell reports whether the other side is root or the daemon's own user.
func mayTell(conn net.Conn) bool {
	c, ok := conn.(*net.UnixConn)
	if !ok {
		return false
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	var who *unix.Ucred
	failed := raw.Control(func(fd uintptr) {
		who, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	return failed == nil && err == nil && (who.Uid == 0 || int(who.Uid) == os.Geteuid())
}
