//go:build race

package appliance

// underRace says that the race detector slows this binary tenfold.
const underRace = true
