//go:build race

package supply

// underRace says that the race detector slows this binary tenfold.
const underRace = true
