//go:build !race

package supply

const underRace = false
