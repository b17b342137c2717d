//go:build !race

package socket

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Read and Write read and write without a word to the scheduler: on the sockets
// that the loops wait for a call never waits, and what it would save for others it
// costs several times over here.
func Read(fd int, p []byte) (int, error)  { return transfer(unix.SYS_READ, fd, p) }
func Write(fd int, p []byte) (int, error) { return transfer(unix.SYS_WRITE, fd, p) }

func transfer(call uintptr, fd int, p []byte) (int, error) {
	for {
		n, _, errno := unix.RawSyscall(call, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
		default:
			return 0, errno
		}
	}
}
