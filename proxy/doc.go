// Package proxy is the HTTP(S) door: an explicit forward proxy, for plain HTTP
// in absolute form and for CONNECT tunnels, and a transparent one for what a
// gateway redirects to it.
//
// The way of a request, in this order:
//
//  1. it is read by Go's own parser, within bounds of time and size; the head of a
//     CONNECT that says a plain host and port and nothing else needs none
//  2. port, method and protocol are looked at: what is not carried is refused
//  3. the [Decider] answers for the host or URL, once for each request
//  4. the name is resolved by our own [Resolver] and each address looked at: an
//     address of the inside is never dialled, unless it is listed
//  5. an allowed request is sent to its origin, and the head of the reply read
//  6. one event goes to the [policy.Sink]; if it cannot be kept, the answer is 503
//  7. only now the page, the origin's reply or the tunnel leaves
//
// In a tunnel the ClientHello is peeked and its server name decided too, before
// a byte of it goes on; then bytes are relayed untouched, unless the policy wants
// the inside seen and there is an [Inspection]. Then TLS ends here, each request
// inside goes the same way for itself, and the origin's certificates are believed
// as a browser would; what they do not deserve is never shown under ours.
//
// What is searched for is heard with the decision, if there is a [Watch]; a page is
// read for what it is about while it passes, if the policy wants that (pagescan).
// Neither is kept but for what the event says.
//
// The address dialled is always one that was looked at in step 4, never one the
// client gave and never the answer of a second look-up. The door keeps no
// verdict from one request to the next, stores no body, adds no header that
// tells of the client, and shows no error text of its own making to a pupil.
//
// What needs no verdict has rooms of its own, which know nothing of requests, rulings
// and records: gate (who may connect), http1 (the server), sniff (the ClientHello),
// inspect (certificates), nested and pagescan (what addresses and pages hold), origins
// and destination (the way out, and where it may lead), pipe and socket (what moves
// bytes). Here is what they are for: what is judged, in which order, what is recorded of
// it and what a person sees; and the tunnels themselves.
//
// goproxy (the client's choice) dispatches requests and copies replies; what it
// cannot do safely is done here (docs/decisions/0010-goproxy.md).
package proxy
