package dnsfilter

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// Beat sees that every loop that reads packets still goes round: it sends empty
// packets, which say nothing and get no answer, until each loop has taken one up.
// An error, once ctx is done, names a loop that did not. It asks for no answer, so
// that neither limits nor a flood can make a busy server look like a dead one.
func (s *Server) Beat(ctx context.Context) error {
	for _, p := range s.packets {
		if err := p.beat(ctx); err != nil {
			return err
		}
	}
	return nil
}

const beatPause = 20 * time.Millisecond // between two packets

func (p *packets) beat(ctx context.Context) error {
	before := make([]uint64, len(p.ports))
	for i, port := range p.ports {
		before[i] = port.rounds.Load()
	}
	for {
		if err := p.nudge(ctx); err != nil {
			return fmt.Errorf("dnsfilter: %s: %w", p.addr, err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(beatPause):
		}
		still := 0
		for i, port := range p.ports {
			if port.rounds.Load() == before[i] {
				still++
			}
		}
		switch {
		case still == 0:
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("dnsfilter: %s: %d of %d loops take no packets: %w", p.addr, still, len(p.ports), ctx.Err())
		}
	}
}

// nudge sends one empty packet, from a port of its own: by which the kernel
// chooses the socket that gets it.
func (p *packets) nudge(ctx context.Context) error {
	to := p.addr
	if to.Addr().IsUnspecified() {
		loopback := netip.IPv6Loopback()
		if to.Addr().Is4() {
			loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})
		}
		to = netip.AddrPortFrom(loopback, to.Port())
	}
	conn, err := new(net.Dialer).DialContext(ctx, "udp", to.String())
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = conn.Write(nil)
	return err
}
