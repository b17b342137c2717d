// Package appliance builds the whole box from its configuration and runs it. It
// starts in this order, so that nothing is served before it can be decided and
// recorded: journal, category store, what staff closed, incidents, policy, index,
// alerts, DNS door, HTTP door, health page, control socket. It stops in the opposite order: the doors finish what is
// under way before the journal closes.
//
// A reload builds the new state beside the old one, checks all of it and swaps
// it in one step, or keeps the old one and says why. It decides nothing itself.
package appliance
