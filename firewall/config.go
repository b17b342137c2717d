package firewall

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
)

// Config is a gateway. New checks it.
type Config struct {
	WAN        []string // interfaces towards the internet
	Networks   []Network
	Doors      Doors
	Management []uint16 // TCP ports for management networks only
	Allow      []Allow
	DoH        []netip.Prefix // addresses of known DNS-over-HTTPS servers
}

// Network is one network of clients behind an interface of its own.
type Network struct {
	Name       string
	Interface  string
	Box        []netip.Prefix // the box's own address in it with its mask, such as 10.2.0.1/24
	Behind     []netip.Prefix // further ranges reached through a router of the school
	Management bool           // the management ports are for it
}

// Doors are the listeners of the box that clients reach.
type Doors struct {
	DNS  []netip.AddrPort // UDP and TCP
	Open []netip.AddrPort // TCP, reached by their own address: proxy, block page, DNS over TLS
	HTTP []netip.AddrPort // TCP 80 of any address is turned here
	TLS  []netip.AddrPort // TCP 443 of any address is turned here
}

// Allow is something besides the web that may pass unfiltered.
type Allow struct {
	Ports []Port
	From  []string       // names of networks; none is all
	To    []netip.Prefix // none is the box itself
	Where string         // where it is written, e.g. schoolgate.yaml:31
}

// Port is a port of a protocol, tcp or udp.
type Port struct {
	Protocol string
	Number   uint16
}

func (p Port) String() string { return fmt.Sprintf("%s/%d", p.Protocol, p.Number) }

// forwards reports whether anything at all is passed on between networks.
func (c *Config) forwards() bool {
	return slices.ContainsFunc(c.Allow, func(a Allow) bool { return len(a.To) > 0 })
}

// interfaceName is what Linux and nft both take for an interface.
var interfaceName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.@-]{0,14}$`)

// check says everything that is wrong.
func (c *Config) check() error {
	var errs []error
	problem := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if len(c.WAN) == 0 {
		problem("no interface leads to the internet")
	}
	if len(c.Networks) == 0 {
		problem("there is no network of clients")
	}
	names, interfaces := map[string]bool{}, map[string]string{}
	for _, w := range c.WAN {
		if !interfaceName.MatchString(w) {
			problem("bad interface %q", w)
		}
		interfaces[w] = "the internet"
	}
	var taken []netip.Prefix
	for _, n := range c.Networks {
		if names[n.Name] {
			problem("network %q is given twice", n.Name)
		}
		if other, ok := interfaces[n.Interface]; ok {
			problem("network %q: interface %s already leads to %s", n.Name, n.Interface, other)
		}
		if !interfaceName.MatchString(n.Interface) {
			problem("network %q: bad interface %q", n.Name, n.Interface)
		}
		names[n.Name], interfaces[n.Interface] = true, n.Name
		if len(n.Box) == 0 {
			problem("network %q: the box has no address in it", n.Name)
		}
		for _, p := range n.ranges() {
			for _, t := range taken {
				if t.Overlaps(p) {
					problem("network %q: range %s overlaps %s of another", n.Name, p, t)
				}
			}
		}
		taken = append(taken, n.ranges()...)
		for _, door := range []struct {
			name string
			at   []netip.AddrPort
		}{{"DNS", c.Doors.DNS}, {"transparent HTTP", c.Doors.HTTP}, {"transparent TLS", c.Doors.TLS}} {
			for _, p := range n.Box {
				if len(door.at) > 0 && port(door.at, p.Addr()) == 0 {
					problem("network %q: the %s door does not listen on %s, the box's address there", n.Name, door.name, p.Addr())
				}
			}
		}
	}
	if len(c.Doors.DNS) == 0 {
		problem("there is no DNS door, so no client could look a name up")
	}
	if (len(c.Doors.HTTP) > 0) != (len(c.Doors.TLS) > 0) {
		problem("one transparent door alone is not used: write proxy.transparent with both http and tls, or neither")
	}
	for _, a := range c.Allow {
		for _, from := range a.From {
			if !names[from] {
				problem("%s: there is no network %q", a.Where, from)
			}
		}
	}
	return errors.Join(errs...)
}

// ranges are the addresses that clients of the network have.
func (n Network) ranges() []netip.Prefix {
	var out []netip.Prefix
	for _, p := range n.Box {
		out = append(out, p.Masked())
	}
	return append(out, n.Behind...)
}

// port is the port of the listener that answers at an address of the box, 0 for
// none. A listener on :: answers over IPv4, too.
func port(at []netip.AddrPort, addr netip.Addr) uint16 {
	for _, l := range at {
		switch a := l.Addr(); {
		case a.Unmap() == addr, a.IsUnspecified() && (a.Is6() || addr.Is4()):
			return l.Port()
		}
	}
	return 0
}
