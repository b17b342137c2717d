package firewall

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
)

// table is the name of the one table that is ours.
const table = "schoolgate"

// Rules are the rules of a checked gateway.
type Rules struct {
	config   Config
	clients  []string // interfaces
	inside   []netip.Prefix
	file     string
	sysctls  []Sysctl
	turnsWeb bool // HTTP and TLS have doors of their own
}

// New checks the gateway and writes its rules.
func New(c Config) (*Rules, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	r := &Rules{config: c, turnsWeb: len(c.Doors.HTTP) > 0 && len(c.Doors.TLS) > 0}
	for _, n := range c.Networks {
		r.clients = append(r.clients, n.Interface)
		r.inside = append(r.inside, n.ranges()...)
	}
	r.sysctls = c.sysctls()
	r.file = r.write()
	return r, nil
}

// String is the file for nft(8), with comments for a person. Loading it replaces
// the table whole: the two lines before the table create it if it is not there,
// so that it can be deleted.
func (r *Rules) String() string { return r.file }

func (r *Rules) write() string {
	w := &writer{}
	w.line("# Written by schoolgate from its gateway: block. Change schoolgate.yaml instead.")
	w.line("# Load with: schoolgate firewall apply. The comment of a rule names what it stops or serves.")
	w.line("")
	w.line("table inet %s", table)
	w.line("delete table inet %s", table)
	w.line("")
	w.block("table inet "+table, func() {
		for i, part := range []func(*writer){
			r.sets, r.arriving, r.fromClients, r.allowed, r.turned, r.input, r.toUs, r.forward, r.leaving,
		} {
			if i > 0 {
				w.line("")
			}
			part(w)
		}
	})
	return w.b.String()
}

// sets are the names and addresses that the rules speak of.
func (r *Rules) sets(w *writer) {
	w.set("clients", "ifname", quoted(r.clients))
	w.set("wan", "ifname", quoted(r.config.WAN))
	for _, f := range families {
		var sources []string
		for _, n := range r.config.Networks {
			for _, p := range merged(f.of(n.ranges())) {
				sources = append(sources, strconv.Quote(n.Interface)+" . "+text(p))
			}
		}
		w.line("")
		w.line("# IPv%s: who may be where, the doors of the box, and what is known for DNS over HTTPS", f.version)
		w.set("sources"+f.version, "ifname . "+f.addrType, sources)
		w.set("inside"+f.version, f.addrType, texts(merged(f.of(r.inside))))
		w.set("dns"+f.version, f.addrType+" . inet_service", r.doors(f, r.config.Doors.DNS))
		w.set("open"+f.version, f.addrType+" . inet_service", r.doors(f, r.config.Doors.Open))
		w.set("turned"+f.version, f.addrType+" . inet_service", r.doors(f, slices.Concat(r.config.Doors.HTTP, r.config.Doors.TLS)))
		w.set("doh"+f.version, f.addrType, texts(merged(f.of(r.config.DoH))))
	}
}

// doors are address and port of every door of a family. A door on all addresses
// is one on each address of the box in a network of clients.
func (r *Rules) doors(f family, at []netip.AddrPort) (out []string) {
	add := func(a netip.Addr, port uint16) {
		element := fmt.Sprintf("%s . %d", a, port)
		if a.Is4() == f.is4 && !slices.Contains(out, element) {
			out = append(out, element)
		}
	}
	for _, l := range at {
		if !l.Addr().IsUnspecified() {
			add(l.Addr().Unmap(), l.Port())
			continue
		}
		for _, n := range r.config.Networks {
			for _, p := range n.Box {
				if l.Addr().Is6() || p.Addr().Is4() {
					add(p.Addr(), l.Port())
				}
			}
		}
	}
	return out
}

// arriving sees a packet before it is turned to a door.
func (r *Rules) arriving(w *writer) {
	w.block("chain arriving", func() {
		w.line("type filter hook prerouting priority mangle; policy accept;")
		for _, f := range families {
			w.rule("Y33 an address of the school, from outside", "iifname @wan %s saddr @inside%s counter drop", f.ip, f.version)
		}
		w.line("iifname @clients jump from_clients")
	})
}

func (r *Rules) fromClients(w *writer) {
	w.block("chain from_clients", func() {
		w.line("# what has no address yet, or stays among neighbours")
		w.line("ip saddr 0.0.0.0 udp sport 68 udp dport 67 accept")
		w.line("ip6 saddr :: icmpv6 type { nd-neighbor-solicit, nd-router-solicit, mld2-listener-report } accept")
		w.line("ip6 saddr fe80::/10 ip6 daddr { fe80::/10, ff02::/16 } accept")
		w.line("# a source that is not of the network it came from")
		for _, f := range families {
			w.rule("Y33 an address of another network", "meta nfproto ipv%s iifname . %s saddr != @sources%s counter drop", f.version, f.ip, f.version)
		}
		w.line("# what the school lets through")
		w.line("jump allowed")
		w.line("# ways round that have a name; whatever has none is dropped at the end, too")
		w.rule("Y7 QUIC: refused at once, so that browsers use TCP", "udp dport { 80, 443 } counter reject")
		w.rule("Y2 DNS over TLS to others", "tcp dport 853 fib daddr type != local counter drop")
		w.rule("Y2 DNS over QUIC", "udp dport { 784, 853, 8853 } counter drop")
		w.rule("Y3 address of a known DNS-over-HTTPS server", "ip daddr @doh4 tcp dport != 53 counter reject with tcp reset")
		w.rule("Y3 address of a known DNS-over-HTTPS server", "ip6 daddr @doh6 tcp dport != 53 counter reject with tcp reset")
		w.rule("Y23 IPv6 in IPv4", "meta l4proto { 4, 41 } counter drop")
		w.rule("Y23 Teredo", "udp dport 3544 counter drop")
		w.rule("Y8 GRE, ESP, AH, L2TP", "meta l4proto { 47, 50, 51, 115 } counter drop")
		w.rule("Y8 IKE, OpenVPN, L2TP, WireGuard, ZeroTier, Tailscale", "udp dport { 500, 1194, 1701, 4500, 9993, 41641, 51820 } counter drop")
		w.rule("Y8 OpenVPN, PPTP", "tcp dport { 1194, 1723 } counter drop")
		if !r.turnsWeb {
			w.rule("Y30 no transparent door: browsers must use the proxy", "tcp dport { 80, 443 } fib daddr type != local counter reject with tcp reset")
		}
	})
}

// allowed is asked wherever something would be turned, dropped or refused.
func (r *Rules) allowed(w *writer) {
	w.block("chain allowed", func() {
		w.line("# gateway.allow: unfiltered, so keep it short")
		for _, a := range r.config.Allow {
			for _, protocol := range []string{"tcp", "udp"} {
				var ports []uint16
				for _, p := range a.Ports {
					if p.Protocol == protocol {
						ports = append(ports, p.Number)
					}
				}
				if len(ports) == 0 {
					continue
				}
				for _, to := range a.destinations() {
					w.rule("allow "+a.Where, "%s%s %s dport %s counter accept", r.from(a), to, protocol, among(numbers(ports)))
				}
			}
		}
	})
}

// from matches the networks of an Allow.
func (r *Rules) from(a Allow) string {
	var interfaces []string
	for _, n := range r.config.Networks {
		if slices.Contains(a.From, n.Name) {
			interfaces = append(interfaces, n.Interface)
		}
	}
	if len(interfaces) == 0 {
		return "iifname @clients "
	}
	return "iifname " + among(quoted(interfaces)) + " "
}

// destinations match where an Allow leads to, at most one for each family. What
// leads on never leads to the box, and the whole internet is not the school.
func (a Allow) destinations() (out []string) {
	if len(a.To) == 0 {
		return []string{"fib daddr type local"}
	}
	for _, f := range families {
		to := merged(f.of(a.To))
		switch {
		case len(to) == 0:
		case to[0].Bits() == 0:
			out = append(out, fmt.Sprintf("%s daddr != @inside%s fib daddr type != local", f.ip, f.version))
		default:
			out = append(out, f.ip+" daddr "+among(texts(to))+" fib daddr type != local")
		}
	}
	return out
}

// turned sends what clients ask of anybody to the box's own doors. Only the first
// packet of a connection comes here; the kernel does the rest alike.
func (r *Rules) turned(w *writer) {
	w.block("chain turned", func() {
		w.line("type nat hook prerouting priority dstnat; policy accept;")
		w.line("iifname != @clients accept")
		w.line("jump allowed")
		r.turn(w, "Y1 %s: every DNS server is the box", "meta l4proto { tcp, udp } th dport 53", r.config.Doors.DNS)
		for _, f := range families {
			w.rule("the box's own doors are reached as they are", "%s daddr . tcp dport @open%s accept", f.ip, f.version)
		}
		if r.turnsWeb {
			r.turn(w, "Y30 %s: HTTP to the box", "tcp dport 80", r.config.Doors.HTTP)
			r.turn(w, "Y30 %s: TLS to the box", "tcp dport 443", r.config.Doors.TLS)
		}
	})
}

// turn writes a rule for each network and family, to the box's address there.
func (r *Rules) turn(w *writer, id, match string, door []netip.AddrPort) {
	for _, n := range r.config.Networks {
		for _, f := range families {
			if own := f.of(n.Box); len(own) > 0 {
				to := netip.AddrPortFrom(own[0].Addr(), port(door, own[0].Addr()))
				w.rule(fmt.Sprintf(id, n.Name), "iifname %q meta nfproto ipv%s %s counter dnat %s to %s", n.Interface, f.version, match, f.ip, to)
			}
		}
	}
}

func (r *Rules) input(w *writer) {
	w.block("chain input", func() {
		w.line("type filter hook input priority filter; policy drop;")
		w.line(`iifname "lo" accept`)
		w.line("icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit, mld-listener-query, mld2-listener-report } accept")
		w.line("ct state invalid drop")
		w.line("ct state established,related accept")
		w.rule("the box's own address from its provider", "iifname @wan udp sport . udp dport { 67 . 68, 547 . 546 } accept")
		w.rule("the box's own route from its provider", "iifname @wan icmpv6 type nd-router-advert accept")
		w.line("iifname @clients jump to_us")
	})
}

func (r *Rules) toUs(w *writer) {
	w.block("chain to_us", func() {
		w.line("icmp type echo-request accept")
		w.line("icmpv6 type echo-request accept")
		w.line("jump allowed")
		for _, f := range families {
			w.rule("DNS", "meta l4proto { tcp, udp } %s daddr . th dport @dns%s accept", f.ip, f.version)
			w.rule("proxy, block page", "%s daddr . tcp dport @open%s accept", f.ip, f.version)
			w.rule("web that was turned here, and nothing else", "ct status dnat %s daddr . tcp dport @turned%s accept", f.ip, f.version)
		}
		var interfaces []string
		for _, n := range r.config.Networks {
			if n.Management {
				interfaces = append(interfaces, n.Interface)
			}
		}
		if len(interfaces) > 0 && len(r.config.Management) > 0 {
			w.rule("management", "iifname %s tcp dport %s accept", among(quoted(interfaces)), among(numbers(r.config.Management)))
		}
	})
}

// forward passes nothing on but what is listed. What was listed once and is no
// more ends at once: only the way back is let through by its connection.
func (r *Rules) forward(w *writer) {
	w.block("chain forward", func() {
		w.line("type filter hook forward priority filter; policy drop;")
		w.line("ct state established,related ct direction reply accept")
		w.line("iifname @clients jump allowed")
		w.rule("everything else, running or not (D5)", "counter drop")
	})
}

func (r *Rules) leaving(w *writer) {
	w.block("chain leaving", func() {
		w.line("type nat hook postrouting priority srcnat; policy accept;")
		if r.config.forwards() {
			w.line("oifname @wan ip saddr @inside4 counter masquerade")
			w.line("oifname @wan ip6 saddr fc00::/7 counter masquerade")
		}
	})
}
