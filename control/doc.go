// Package control is the way from a command on the box to the daemon that runs on
// it: requests with JSON in their bodies, over a socket in the data directory. Whoever
// may enter that directory may use it. What there is to ask, and what is answered, is
// the appliance's, which serves the socket.
//
// A command that finds nobody there gets [ErrNotRunning] and nothing else does, so it
// can tell a box that is off from a daemon that refused.
package control
