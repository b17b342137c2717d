// Package helpcount is how many uses of help-lines and searches for help there were.
// Nothing else of them is written, and that only once the day is over: an entry of its
// own, even one that names nobody, would stand beside what the same device asked for
// just then (F10).
//
// A [Count] counts by day, by the school's clock, and knows of no person, device or
// host. What it has counted outlives kill -9.
package helpcount
