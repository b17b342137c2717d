//go:build !linux

package proxy

// descriptorLimit is how many descriptors the process may hold; 0 if unknown.
func descriptorLimit() uint64 { return 0 }
