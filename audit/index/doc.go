// Package index makes the journal quick to search. The way of an event:
//
//  1. Run follows the journal and puts each event into a database in memory
//  2. when a school day is over, or the database holds enough, its columns are
//     indexed and it is written once, encrypted page by page, as a sealed file
//  3. Search asks the sealed files, and the journal itself for all they do not
//     hold: what came after the last of them, and what a lost or damaged one held
//
// The journal is the truth: a file says which state of it it was made of, and one
// that disagrees, or that is cut, altered or foreign, is passed over at once and
// made anew by Run. How far the index has come is the end of its last file, so
// there is no cursor that could go wrong. It never alters the journal, and no
// host, path or client of it is on the disk in clear. Why it is made like this is in
// docs/decisions/0061-index.md.
package index
