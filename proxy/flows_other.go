//go:build !linux

package proxy

// flows are for Linux only; elsewhere two goroutines carry each tunnel.
type flows struct{}

type flow struct{}

func newFlows(*Server) (*flows, error) { return &flows{}, nil }

func (*flows) run() {}

func (*flows) close() error { return nil }

func (*flows) begin(*tunnel) bool { return false }

func (*flows) closed(*flow) {}
