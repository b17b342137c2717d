//go:build !race

package main

// underRace says that this binary carries the race detector, which slows it tenfold.
const underRace = false
