// Package socket asks of TCP sockets, and does with them, what package net does not: who
// has hung up, what came unasked, where a redirected connection was meant to go, and on
// Linux the few system calls by which ordinary tunnels pass Go's poller by.
//
// Nothing in it waits, keeps anything or knows whose socket it is. It is the one place of
// the door where memory is handed to the kernel by its address. A descriptor that it
// gives belongs to the caller, who closes it, and who sees to it that a number does not
// mean another's socket by the time it is used. Where a system cannot tell, it says what
// is safe: that a connection is not fit to be used again, that nobody has gone, that
// nothing redirected it.
package socket
