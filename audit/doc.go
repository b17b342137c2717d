// Package audit keeps the record of every decision: an append-only, encrypted,
// hash-chained journal of [policy.Event] on disk. The way of an event:
//
//  1. Record adds it to the frame being gathered and waits
//  2. one waiting caller seals the frame and hands it to the kernel in one write
//  3. a frame that holds a flagged event is on disk before its caller goes on;
//     everything else is within a second
//  4. Follow, Search, Export and Verify read the segments behind it
//
// What is due is removed by Retain, with a receipt; otherwise it
// never alters or reorders what was written. It never returns success for an
// event the kernel has not got, and writes no host, path or client in clear.
// What each file holds byte by byte, and what the journal does not promise, is
// in docs/decisions/0020-journal.md.
package audit
