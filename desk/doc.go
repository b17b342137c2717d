// Package desk is where people on the box look at alerts and answer them: for one
// reader, who sees only what is theirs to see (R35, R36). It says who hears of what
// ([Plan]), what an alert is made of, and what the log says for an incident that is
// opened of an event, of an alert, or of a device at about a time.
//
// It reads files that the running box goes on writing, and changes none: what a person
// answers is recorded as their act, from where the box learns of it.
package desk
