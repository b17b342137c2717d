// Package upstream finds the answer to a question that the school allows: from
// the cache, else from the resolvers the school configured, over UDP and, where
// an answer does not fit or looks forged, over TCP; or over TLS or HTTPS. In this
// order:
//
//  1. the cache; an answer near its end is refreshed while it is served
//  2. one flight per question, however many ask: the fastest healthy resolver
//     first, the next after 300 ms or at the first failure
//  3. the answer is vetted before anyone sees it: only the records that were
//     asked for, in one chain; no private address for a public name; no ech and
//     no h3 in an HTTPS record
//  4. where signatures are checked here, that has been done before anything of the
//     answer was changed, and before it entered the cache (package dnssec)
//  5. if nobody answers, the last answer for up to a day (RFC 8767)
//
// It decides nothing about who may see an answer, never asks the operating
// system's resolver, and never passes on a record that was not asked for.
package upstream
