//go:build !race

package terms

// raceEnabled: the race detector drops pooled values at random.
const raceEnabled = false
