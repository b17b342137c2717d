// Package retention is how long the journal of a box keeps what, and what is kept from
// that by legal holds: the rule that the school's policy makes ([Of]), and what people
// ask of it: a hold, its end, a run that is due now ([Request]). What is asked goes
// through the daemon where one is running.
//
// Nothing is removed here but by the rule; that is the journal's own work. Ending a
// hold takes two people, since what it kept cannot be had back.
package retention
