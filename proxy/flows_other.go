//go:build !linux

package proxy

import "net"

// flows are for Linux only; elsewhere two goroutines carry each tunnel.
type flows struct{}

type flow struct{}

func newFlows(*Server) (*flows, error) { return &flows{}, nil }

func (*flows) run() {}

func (*flows) close() error { return nil }

func (*flows) begin(*tunnel) bool { return false }

func (*flows) closed(*flow) {}

// loop is for Linux only as well: elsewhere all arrive by way of Go's poller.
type loop struct{}

func newLoop(*Server) (*loop, error) { return &loop{}, nil }

func (*loop) run() {}

func (*loop) close() error { return nil }

type entrance struct{}

func (*Server) enter(net.Listener, func(net.Conn)) bool { return false }

func (*entrance) close() {}

type pair struct{}

func (*pair) closeAll() {}

func (*pair) ended() {}

func (*pair) stands() bool { return false }
