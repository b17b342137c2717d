//go:build race

package alerts

// underRace says that the race detector slows this binary tenfold: fewer histories.
const underRace = true
