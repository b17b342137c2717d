// Package dnssec says whether an answer of the DNS is what the owner of the name
// signed (RFC 4033 to 4035, 5155, 6840, 9276, 9905). For one reply, in this order:
//
//  1. every set of records in it is checked against the keys of the zone that
//     signed it; those keys are found from the root down, each zone's by the DS
//     records that the zone above it signed
//  2. a set without a good signature is believed only where a zone on the way to it
//     is proven to be unsigned: the answer is then insecure, as most are
//  3. the chain of CNAMEs is walked; a set made from a wildcard needs the proof that
//     nothing nearer exists
//  4. where the chain ends in nothing, that has to be proven too (NSEC, NSEC3)
//
// All else is bogus. What a question may cost is bounded in everything an attacker
// can multiply ([Budget]); at the bound the answer is bogus, never believed. It asks
// nobody itself, keeps no answer, and decides nothing about who may see one.
package dnssec
