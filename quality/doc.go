// Package quality is how good the lists of a store are: what they cover and what they
// leave out ([CoverageOf]), and which of their entries are probably wrong
// ([AuditStore]). It is found in the store and in the school's policy, never in a
// promise, and shows nothing of mandatory lists, which the store itself cannot read.
package quality
