//go:build !linux

package main

// boundMemory: only Linux has control groups. What an operator sets in GOMEMLIMIT holds.
func boundMemory() error { return nil }
