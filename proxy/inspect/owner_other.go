//go:build !linux

package inspect

// asItsFolder leaves a file to who made it.
func asItsFolder(string) error { return nil }
