// Package layering holds no code: its tests read the source of the whole module
// and hold which package may import which (STYLE.md), and a few things that no
// package may do.
package layering
