// Package origins is the door's way out: it looks names up, dials, believes and asks
// origins.
//
// Nothing is dialled but an address of a [Route], which was looked at by the
// [destination.Set] when it was found and is looked at once more at the socket; whose
// request it is and which route was checked for it is told by the request's context
// ([Config]), and without a route nothing leaves (G10). TLS is of version 1.2 at least,
// with certificates that a browser would believe (T8). A request without a body is asked
// of an origin on HTTP/1.1 in place; bodies, and origins on HTTP/2, go by net/http's
// transport. What must not be sent twice is not, and a connection that signs its client
// in serves nobody else (T21).
//
// It keeps idle connections, 1024 in all and 64 to one place, for 90 seconds; 4096 names
// for two seconds; and for an hour of 4096 places that they do not speak HTTP/2. The head
// of a reply has 256 KiB at most, and [MaxInterim] interim replies before it; what an
// origin sends ahead of a reader over HTTP/2 is [ReplyAhead].
package origins
