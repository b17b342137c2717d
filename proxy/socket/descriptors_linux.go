package socket

import "golang.org/x/sys/unix"

// Limit is how many descriptors the process may hold; 0 if unknown.
func Limit() uint64 {
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
		return 0
	}
	return r.Cur
}
