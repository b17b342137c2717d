package configs

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"schoolgate/policy"
)

// Gateway is what the box is as the way out of the school: package firewall's
// rules are made of it. Without Networks the box is no gateway.
type Gateway struct {
	WAN             []string // interfaces
	Networks        []GatewayNetwork
	Management      []string // names of networks
	ManagementPorts []uint16
	Allow           []GatewayAllow
	DoHAddresses    []string // files
}

// Ranges are the addresses of all the networks.
func (g Gateway) Ranges() (out []netip.Prefix) {
	for _, n := range g.Networks {
		for _, p := range n.Box {
			out = append(out, p.Masked())
		}
		out = append(out, n.Behind...)
	}
	return out
}

// GatewayNetwork is one network of clients.
type GatewayNetwork struct {
	Name, Interface string
	Box             []netip.Prefix // the box's own address there with its mask
	Behind          []netip.Prefix // further ranges, behind a router of the school
}

// GatewayAllow is something besides the web that passes unfiltered.
type GatewayAllow struct {
	Ports []GatewayPort
	From  []string       // names of networks; none is all
	To    []netip.Prefix // none is the box itself
	Rule  policy.Pos
}

// GatewayPort is a port of tcp or udp.
type GatewayPort struct {
	Protocol string
	Number   uint16
}

func (l *loader) readGateway(v value, g *Gateway) {
	v.fields(map[string]func(value){
		"wan": many(&g.WAN, interfaceName),
		"networks": func(v value) {
			v.named("network", func(name string, v value) { g.Networks = append(g.Networks, readGatewayNetwork(name, v)) })
		},
		"management": func(v value) {
			v.fields(map[string]func(value){
				"networks": many(&g.Management, ident),
				"ports":    many(&g.ManagementPorts, portNumber),
			})
		},
		"allow": func(v value) {
			v.each(func(v value) { g.Allow = append(g.Allow, l.readGatewayAllow(v)) })
		},
		"doh_addresses": many(&g.DoHAddresses, fileName),
	})
	if len(v.d.problems) == 0 {
		l.checkGateway(v, g)
	}
}

func readGatewayNetwork(name string, v value) GatewayNetwork {
	n := GatewayNetwork{Name: name}
	v.fields(map[string]func(value){
		"interface": one(&n.Interface, interfaceName),
		"box":       many(&n.Box, addressInNetwork),
		"behind":    many(&n.Behind, rangeOfNetwork),
	})
	if !v.has("interface") {
		v.problem("has no interface (write interface: eth1)")
	}
	if !v.has("box") {
		v.problem("the box has no address in it (write box: [10.2.0.1/24])")
	}
	return n
}

// everywhere is how an allow is given no bound on where it leads.
const everywhere = "internet"

func (l *loader) readGatewayAllow(v value) GatewayAllow {
	a := GatewayAllow{Rule: v.pos()}
	toBox := false
	v.fields(map[string]func(value){
		"ports": many(&a.Ports, gatewayPort),
		"from":  many(&a.From, ident),
		"to": func(v value) {
			v.each(func(v value) {
				switch {
				case v.isText() && v.node.Value == "box":
					toBox = true
				case v.isText() && v.node.Value == everywhere:
					a.To = append(a.To, netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0"))
				default:
					if p, ok := read(v, network); ok {
						a.To = append(a.To, p)
					}
				}
			})
		},
	})
	switch {
	case !v.has("ports"):
		v.problem("has no ports (write ports: [udp/123])")
	case toBox == (len(a.To) > 0):
		v.problem("say where it leads: to: [box], or addresses of servers, not both")
	}
	for _, p := range a.Ports {
		l.warnRoundTheFilter(v, a, p)
	}
	return a
}

// warnRoundTheFilter: what the doors are for may be allowed to known servers
// only, and is told even so.
func (l *loader) warnRoundTheFilter(v value, a GatewayAllow, p GatewayPort) {
	if len(a.To) == 0 || !slices.Contains([]uint16{53, 80, 443, 853}, p.Number) {
		return
	}
	for _, to := range a.To {
		few := 16
		if to.Addr().Is6() {
			few = 32
		}
		if to.Bits() < few {
			v.problem("%s/%d to %s would lead round the filter (name the servers)", p.Protocol, p.Number, to)
			return
		}
	}
	l.warn(v.pos(), "gateway.allow: %s/%d is not filtered on its way to %s", p.Protocol, p.Number, a.To[0])
}

func (l *loader) checkGateway(v value, g *Gateway) {
	if len(g.Networks) == 0 && len(g.WAN)+len(g.Allow)+len(g.Management) == 0 {
		return
	}
	if len(g.WAN) == 0 {
		v.problem("no interface leads to the internet (write wan: [eth0])")
	}
	var known []string
	for _, n := range g.Networks {
		known = append(known, n.Name)
	}
	if len(known) == 0 {
		v.problem("there is no network of clients (write networks:)")
	}
	names := slices.Clone(g.Management)
	for _, a := range g.Allow {
		names = append(names, a.From...)
	}
	for _, name := range names {
		if !slices.Contains(known, name) {
			v.problem("%v", unknown("network", name, slices.Clone(known)))
		}
	}
	if len(g.Management) == 0 && len(known) > 0 {
		l.warn(v.pos(), "gateway.management: no network is for IT, so the box can be managed at its own keyboard only")
	}
}

var interfacePattern = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.@-]{0,14}$`)

func interfaceName(s string) (string, error) {
	if s == "lo" {
		return "", errors.New(`bad interface "lo": it leads to the box itself`)
	}
	if !interfacePattern.MatchString(s) {
		return "", fmt.Errorf("bad interface %q: want a name that ip link shows, such as eth1 or eth1.20", clip(s))
	}
	return s, nil
}

// addressInNetwork reads an address with the mask of its network.
func addressInNetwork(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil || p.Addr().Is4In6() || p.IsSingleIP() {
		return netip.Prefix{}, fmt.Errorf("bad address %q: want the box's own with its mask, such as 10.2.0.1/24 or fd00:2::1/64", clip(s))
	}
	if p.Addr() == p.Masked().Addr() {
		return netip.Prefix{}, fmt.Errorf("bad address %q: that is the network itself (did you mean %q?)", clip(s), netip.PrefixFrom(p.Addr().Next(), p.Bits()))
	}
	if err := ofClients(p); err != nil {
		return netip.Prefix{}, fmt.Errorf("bad address %q: %w", clip(s), err)
	}
	if next := p.Addr().Next(); p.Addr().Is4() && p.Bits() < 31 && !p.Contains(next) {
		return netip.Prefix{}, fmt.Errorf("bad address %q: that is the network's broadcast address", clip(s))
	}
	return p, nil
}

// rangeOfNetwork reads a range in which clients are.
func rangeOfNetwork(s string) (netip.Prefix, error) {
	p, err := network(s)
	if err != nil {
		return netip.Prefix{}, err
	}
	if err := ofClients(p); err != nil {
		return netip.Prefix{}, fmt.Errorf("bad range %q: %w", clip(s), err)
	}
	return p, nil
}

// ofClients says what is wrong with a range as that of a school's network: the rules
// take what is in it for the inside, and drop it where it comes from the internet.
func ofClients(p netip.Prefix) error {
	first, widest := p.Masked().Addr(), 8
	if first.Is6() {
		widest = 16
	}
	switch {
	case p.Bits() < widest:
		return fmt.Errorf("that is a large part of the internet, and no school's (want /%d or narrower)", widest)
	case first.IsLoopback(), p.Contains(netip.IPv6Loopback()), first.IsUnspecified():
		return errors.New("that is every machine's own, and no network")
	case first.IsLinkLocalUnicast():
		return errors.New("link-local addresses lead no further than their cable (want one that is routed)")
	case first.IsMulticast(), first.Is4() && first.As4()[0] >= 240:
		return errors.New("no device has such an address")
	}
	return nil
}

func gatewayPort(s string) (GatewayPort, error) {
	protocol, number, ok := strings.Cut(s, "/")
	if !ok || protocol != "tcp" && protocol != "udp" {
		return GatewayPort{}, fmt.Errorf("bad port %q: want protocol and number, such as udp/123", clip(s))
	}
	n, err := portNumber(number)
	return GatewayPort{protocol, n}, err
}
