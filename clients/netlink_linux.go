package clients

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"syscall"
)

// States in which the kernel has heard from a neighbour (linux/neighbour.h);
// failed and incomplete ones have no address worth believing.
const (
	stateReachable = 0x02
	stateStale     = 0x04
	stateDelay     = 0x08
	stateProbe     = 0x10
	statePermanent = 0x80
	heardFrom      = stateReachable | stateStale | stateDelay | stateProbe | statePermanent
)

// Attributes of a neighbour message (NDA_*).
const (
	attrDestination = 1
	attrHardware    = 2
)

const neighbourHeader = 12 // struct ndmsg

// readNeighbours6 asks the kernel for its IPv6 neighbours over a route socket:
// there is no file that lists them.
func readNeighbours6() ([]Neighbour, error) {
	raw, err := syscall.NetlinkRIB(syscall.RTM_GETNEIGH, syscall.AF_INET6)
	if err != nil {
		return nil, fmt.Errorf("route socket: %w", err)
	}
	return parseNeighbours(raw)
}

// parseNeighbours reads an answer to RTM_GETNEIGH, bounded by its length.
func parseNeighbours(raw []byte) ([]Neighbour, error) {
	if len(raw) > maxTable {
		raw = raw[:maxTable]
	}
	messages, err := syscall.ParseNetlinkMessage(raw)
	if err != nil {
		return nil, fmt.Errorf("route socket: %w", err)
	}
	var found []Neighbour
	for _, m := range messages {
		if m.Header.Type != syscall.RTM_NEWNEIGH {
			continue
		}
		n, ok, err := parseNeighbour(m.Data)
		if err != nil {
			return found, err
		}
		if ok {
			found = append(found, n)
		}
	}
	return found, nil
}

// parseNeighbour reads one struct ndmsg and its attributes. ok is false for a
// neighbour that was not heard from or is no client.
func parseNeighbour(b []byte) (n Neighbour, ok bool, err error) {
	if len(b) < neighbourHeader {
		return n, false, errShort
	}
	state := binary.NativeEndian.Uint16(b[8:])
	hasMAC := false
	for b = b[neighbourHeader:]; len(b) >= 4; {
		size, kind := int(binary.NativeEndian.Uint16(b)), binary.NativeEndian.Uint16(b[2:])
		if size < 4 || size > len(b) {
			return n, false, errShort
		}
		value := b[4:size]
		switch kind {
		case attrDestination:
			n.Addr, _ = netip.AddrFromSlice(value) // of a wrong length: the zero address, refused below
		case attrHardware:
			if hasMAC = len(value) == len(n.MAC); hasMAC {
				n.MAC = [6]byte(value)
			}
		}
		b = b[min((size+3)&^3, len(b)):]
	}
	return n, hasMAC && n.MAC != [6]byte{} && state&heardFrom != 0 && usable(n.Addr), nil
}
