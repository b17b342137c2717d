// Package supply brings lists in and puts stores of them in force on a box. What a
// list says is read by blocklists, what a store answers is up to categories; here is
// the way from the one to the other, the same in whichever process goes it:
//
//  1. feeds are fetched, or imported from a folder, beside the last good copies
//  2. if any content is new a store is built of all copies, beside the one in force
//  3. a gate asks the school's policy about both, and holds back what would close
//     much of what is used, or what must stay open, or lost half of itself
//  4. the version is published, and the running box takes it up
//
// A feed that fails, a kill or a full disk changes nothing that is in force. What
// mandatory lists say never waits, and one of them leaves the lists in force by a
// ceremony of two people alone ([RemoveMandatory]).
//
// It also says how all that stands, from the files alone: how old each feed is
// ([StatusOf]) and which versions are damaged ([DamageOf]).
package supply
