//go:build !linux

package main

// isTerminal reports no terminal: only Linux is asked.
func isTerminal(any) bool { return false }
