//go:build race

package socket

import "syscall"

// Read and Write go by package syscall here, which tells the race detector that
// what is read was written before. Errors are the same numbers.
func Read(fd int, p []byte) (int, error)  { return again(syscall.Read, fd, p) }
func Write(fd int, p []byte) (int, error) { return again(syscall.Write, fd, p) }

func again(call func(int, []byte) (int, error), fd int, p []byte) (int, error) {
	for {
		if n, err := call(fd, p); err != syscall.EINTR {
			return max(n, 0), err
		}
	}
}
