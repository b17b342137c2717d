// Package policy is the vocabulary of the house and the decision. It knows
// nothing of ours: doors, stores and pages all speak its words.
//
// Deciding is pure: no clock, network, disk or log, so a decision can be
// explained long after the lesson is over. The first step that speaks wins:
//
//  1. mandatory lists (IWF-style, police terrorist-style), which nothing lifts
//  2. the never-block set: help-lines, captive-portal checks, updates
//  3. a quarantined device, or a person without a signed policy; what staff
//     closed for everyone in an emergency
//  4. a live pass: one site, one class or client, until a time
//  5. the school's exceptions: client, group, profile, everyone
//  6. the profile's approved and lesson lists; approved-only profiles get no more
//  7. category rules of the profile, under the timetable in force
//  8. uncategorised hosts: what the profile says
//
// A [Decision] nobody filled in refuses.
package policy
