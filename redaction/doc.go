// Package redaction takes out of what people type the addresses that may be written
// nowhere. The words of a search, a note, a reason, a part of a path may be an address
// of a mandatory list; it is a crime to pass on wherever it stands, so it goes before
// anything is written down (F7, privacy 8).
//
// It keeps nothing and asks only the lists it is given. Of a text too full of
// addresses to look them all up the rest goes, too.
package redaction
