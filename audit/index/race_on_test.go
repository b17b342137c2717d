//go:build race

package index

// underRace says that the race detector slows this binary tenfold: fewer histories.
const underRace = true
