// Package revisions keeps the school's own watched phrases under change control (M3):
// what hears more is in force at once, what hears less takes a reason and a second
// person. Every revision is kept in the data folder, with who, why and what changed.
//
// Packs that may not be in force leave the last revision in force, and one that was
// altered on the disk is none.
package revisions
