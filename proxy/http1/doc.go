// Package http1 serves HTTP/1.0 and HTTP/1.1 in place of net/http's server.
//
// It looks at the bytes of a head before Go's parser does, and refuses what two parsers
// could read in two ways instead of making it right (T7); what passes is parsed by Go and
// by nobody else. One goroutine serves a connection, and its deadlines are moved when they
// are a second off. Requests whose client has gone are found by [Server.Look], for all
// connections at once. docs/decisions/0010 says why, and what it saves.
//
// An [Answer] is what a handler writes to, as it would to net/http's: a reply that is not
// whole is shown to be half (G4), a body that nobody read does not become the next
// request, and a connection that was taken over takes along what came behind the request
// (G7). Whoever has the [Server] says in its [Config] where connections come from, on
// which goroutines they run and what a request is a part of; the package knows of no
// policy, page or tunnel.
//
// A head has the size of [Limits] at most, in its time, and no more than 256 fields; of
// a body that nobody wants 64 KiB are read for the sake of the connection.
package http1
