//go:build !linux

package socket

// Limit is how many descriptors the process may hold; 0 if unknown.
func Limit() uint64 { return 0 }
