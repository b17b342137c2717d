// Package categories is what the lists say of a host: an immutable store of
// millions of names and the classifier that reads it. A store is one bbolt file,
// written once by a [Builder] beside the live one, checked, and put in place by
// rename; it is never changed afterwards.
//
// The way of a question, [Store.Classify]:
//
//  1. mandatory lists, kept only as keyed hashes: a secret pre-filter answers
//     for hosts that are not on them, HMAC confirms the rest
//  2. the hot index: the host is hashed label by label from the right, and one
//     probe for every parent finds what class of entry it is
//  3. a hit is confirmed by its full name in the names bucket, so that a hash
//     alone never blocks anything
//  4. entries are joined from the top of the tree down: curated ones replace
//     what public ones said, nearer ones say otherwise (see evidence.go)
//
// A store never answers from a file it cannot read: a fault under a question
// gives [policy.Facts] that refuse. It never prints an entry of a mandatory
// list, and it never opens with the wrong key if it holds one.
package categories
