// Package pipe moves what is there from one connection to another.
//
// A [Pipe] moves some of it at each call and owns neither side: deadlines, half-closes
// and the count of what was moved are its caller's. Between two TCP sockets it is [Fast]:
// small amounts go through a pooled buffer, large ones are spliced by the kernel and
// never reach our memory. While it waits it holds neither a buffer nor a kernel pipe, so
// a tunnel on which nothing moves costs no memory for it. A call moves 32 KiB, and what
// is spliced beyond that is 1 MiB at most, so that a slow reader is seen to be alive.
package pipe
