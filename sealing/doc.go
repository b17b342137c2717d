// Package sealing is the journal as the doors see it: a [policy.Sink] that lets
// nothing be written down which must be kept from everybody.
//
//  1. the address of a mandatory hit is sealed to those who may open it, or dropped
//     where the school has given no keys (F7, privacy 8)
//  2. addresses of mandatory lists in words and paths are taken out
//  3. a use of a help-line is counted, and not written (F10)
//
// That sealing fails is no reason to lose an event: it is recorded without.
package sealing
