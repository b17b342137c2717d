package firewall

import "syscall"

// newNamespace puts the calling thread, which must be locked, into a network
// namespace of its own.
func newNamespace() error { return syscall.Unshare(syscall.CLONE_NEWNET) }
