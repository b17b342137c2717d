// Package inspect is what the HTTPS door needs to look inside a connection, and
// to leave alone what it must not look inside:
//
//   - [Authority], the school's own certificate authority, made on this box
//   - [Leaves], the certificates it signs for hosts, kept and shared
//   - [Verifier], which decides on an origin's certificates as a browser would
//   - [Trust], which clients turned out not to trust the authority
//   - [NeverInspect], the hosts whose connections are private
//
// A key never leaves the folder it was made in: no function returns or prints
// one. An origin's certificate that a browser would refuse is refused here, and
// nothing signed here stands in for it. The package opens no connection.
package inspect
