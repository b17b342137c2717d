// Package containment is what staff closed at once while an incident is looked
// into: devices in quarantine (R29) and addresses closed for everyone (R25). A
// [State] is a value; changing it gives the next one. On disk it is one small file,
// kept twice, so that it outlives restarts, reloads and a damaged sector.
//
// A [Keeper] carries out what staff [Order], on record first, and lays what is closed
// over the policy and the clients of a snapshot. Closing is one person's act, opening
// again takes two.
//
// It never loses what it acknowledged, and never reads a damaged file as an empty
// one: that is [ErrDamaged], and whoever gets it must let nobody through.
package containment
