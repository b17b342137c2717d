// Package dnsfilter is the DNS door: a question comes in as bytes, is decided by
// who asks, and leaves as bytes. For every packet, on every transport, in this
// order:
//
//  1. the header is checked before anything behind it is read (M2)
//  2. the client must be in a network that is served and within its rate
//  3. the question is read in place; what cannot be read is a FORMERR
//  4. the name becomes a [policy.Host] and the school's policy decides, before
//     any cache is asked, so a changed rule works at once
//  5. blocked: the sinkhole, or what is configured. Allowed: the answer from the
//     upstream room, every name it leads to decided as well
//  6. the event is recorded; only then does the answer leave
//
// It never answers a name that the policy blocks with that name's address, never
// falls back to an answer that is not filtered, and never keeps a question
// waiting behind another client's. A warning cannot be shown in an answer, so a
// warned name is answered like a blocked one, with the address of the page that
// can.
package dnsfilter
