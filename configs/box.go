package configs

import (
	"log/slog"
	"net"
	"net/netip"
	"time"

	"schoolgate/policy"
)

// defaultBox is what a schoolgate.yaml that says nothing gets; README.md and the
// sample file show each of these values, and a test compares them.
func defaultBox() Box {
	return Box{
		Policy: "policy.yaml",
		Data:   "var",
		DNS: DNS{
			Listen:    addrPorts("127.0.0.1:5300"),
			Networks:  localNetworks(),
			Answer:    Sinkhole,
			Addresses: []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()},
			Order:     Fastest,
			DNSSEC:    ByUpstream, Unvalidated: timeServers,
			Rate:       1000,
			Burst:      5000,
			CacheBytes: 32 << 20,
			EDEText:    "blocked by the school's internet filter",
			system:     true,
		},
		Proxy: Proxy{
			Listen: addrPorts("127.0.0.1:3128"), ConnectPorts: []uint16{443},
			MaxConnections: 4096, MaxPerClient: 256,
		},
		Inspect: Inspect{Unseen: PassUnseen, Personal: true},
		Metrics: Metrics{Listen: addrPorts("127.0.0.1:9300")},
		Lists:   Lists{HoldAt: 1},
		Mail:    Mail{TLS: StartTLS, Timeout: 30 * time.Second},
		Audit:   Audit{Durability: Normal, SegmentSize: 64 << 20, Reasons: ReasonsAsked},
		Log:     Log{Level: slog.LevelInfo, Format: "text"},
	}
}

// localNetworks are this machine and the ranges that schools use inside.
func localNetworks() (out []netip.Prefix) {
	for _, s := range []string{"127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fe80::/10"} {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func addrPorts(s string) []netip.AddrPort { return []netip.AddrPort{netip.MustParseAddrPort(s)} }

// readBox walks schoolgate.yaml.
func (l *loader) readBox(v value) Box {
	b := defaultBox()
	v.fields(map[string]func(value){
		"policy":  one(&b.Policy, fileName),
		"data":    one(&b.Data, fileName),
		"dns":     func(v value) { l.readDNS(v, &b.DNS) },
		"proxy":   func(v value) { readProxy(v, &b.Proxy) },
		"gateway": func(v value) { l.readGateway(v, &b.Gateway) },
		"inspect": func(v value) { l.readInspect(v, &b.Inspect) },
		"metrics": func(v value) {
			v.fields(map[string]func(value){"listen": many(&b.Metrics.Listen, listener)})
		},
		"lists": func(v value) {
			v.fields(map[string]func(value){
				"feeds":   func(v value) { readFeeds(v, &b.Lists) },
				"store":   one(&b.Lists.Store, fileName),
				"proxy":   one(&b.Lists.Proxy, webAddress),
				"hold_at": one(&b.Lists.HoldAt, number(0, 100)),
			})
		},
		"mail": func(v value) { l.readMail(v, &b.Mail) },
		"console": func(v value) {
			v.fields(map[string]func(value){"url": one(&b.Console.URL, webAddress)})
		},
		"audit": func(v value) {
			v.fields(map[string]func(value){
				"durability":   one(&b.Audit.Durability, choice("durability", Normal, StrictlySync)),
				"reasons":      one(&b.Audit.Reasons, choice("choice", ReasonsAsked, ReasonsRequired)),
				"segment_size": one(&b.Audit.SegmentSize, size(1<<20, 1<<30)),
			})
		},
		"log": func(v value) {
			v.fields(map[string]func(value){
				"level":  one(&b.Log.Level, logLevel),
				"format": one(&b.Log.Format, choice("log format", "text", "json")),
			})
		},
	})
	if len(v.d.problems) == 0 {
		l.checkBox(v, &b)
	}
	if b.DNS.system {
		l.systemUpstreams(v, &b.DNS)
	}
	return b
}

// readFeeds reads the name of the file of the feeds, or notes that they are written
// here: blocklists reads them, as it reads that file.
func readFeeds(v value, l *Lists) {
	if v.isList() {
		l.Here = true
		return
	}
	one(&l.Feeds, fileName)(v)
}

func readProxy(v value, p *Proxy) {
	v.fields(map[string]func(value){
		"listen":             many(&p.Listen, listener),
		"tls_listen":         many(&p.TLSListen, listener),
		"name":               one(&p.Name, policy.ParseHost),
		"certificate":        one(&p.Certificate, fileName),
		"key":                one(&p.Key, fileName),
		"page_listen":        many(&p.PageListen, listener),
		"connect_ports":      many(&p.ConnectPorts, portNumber),
		"http_ports":         many(&p.HTTPPorts, portNumber),
		"allow_destinations": many(&p.AllowDestinations, network),
		"transparent": func(v value) {
			v.fields(map[string]func(value){
				"http": many(&p.Transparent.HTTP, listener),
				"tls":  many(&p.Transparent.TLS, listener),
			})
		},
		"max_connections": one(&p.MaxConnections, number(1, 1_000_000)),
		"max_per_client":  one(&p.MaxPerClient, number(1, 1_000_000)),
	})
}

func (l *loader) readMail(v value, m *Mail) {
	v.fields(map[string]func(value){
		"server":        one(&m.Server, mailServer),
		"tls":           one(&m.TLS, choice("mail encryption", StartTLS, TLS, NoTLS)),
		"username":      one(&m.Username, words),
		"password_file": one(&m.PasswordFile, fileName),
		"from":          one(&m.From, mailAddress),
		"ca_file":       one(&m.CAFile, fileName),
		"timeout":       one(&m.Timeout, duration(time.Second, 10*time.Minute)),
	})
	switch {
	case m.Server == "":
		if m.From != "" || m.Username != "" || m.PasswordFile != "" {
			v.problem("there is no server (write server: host:port)")
		}
		return
	case !v.has("from"):
		v.problem("there is no sender (write from: schoolgate@your-school)")
	case (m.Username == "") != (m.PasswordFile == ""):
		v.problem("username and password_file belong together: write both or neither")
	}
	if m.TLS != NoTLS {
		return
	}
	host, _, _ := net.SplitHostPort(m.Server) // checked when it was read
	if a, err := netip.ParseAddr(host); err != nil || !a.IsLoopback() {
		v.problem("tls: none sends alerts in clear, so it is for a server on this machine only, such as 127.0.0.1:25 (use starttls or tls)")
		return
	}
	if m.Username != "" {
		v.problem("tls: none would send the password in clear (use starttls or tls)")
		return
	}
	l.warn(v.pos(), "mail: tls is none: alerts go to %s in clear; use it for a trial only", m.Server)
}

// checkBox checks what takes more than one field to see, once each can be read.
func (l *loader) checkBox(v value, b *Box) {
	if len(b.DNS.Listen)+len(b.Proxy.Listen) == 0 {
		v.problem("no door: dns.listen and proxy.listen are both empty, so nothing would be filtered")
	}
	if (b.Proxy.Certificate == "") != (b.Proxy.Key == "") {
		v.problem("proxy: certificate and key belong together: write both or neither")
	}
	l.checkDNS(v, &b.DNS)
}

// complete joins relative file names to the folder of the file that named them.
func (b *Box) complete(f folder) {
	b.Data = f.place(b.Data)
	if b.Lists.Store == "" {
		b.Lists.Store = b.Data + "/store"
	} else {
		b.Lists.Store = f.place(b.Lists.Store)
	}
	if b.Lists.Here {
		b.Lists.Feeds = b.File
	} else {
		b.Lists.Feeds = f.place(b.Lists.Feeds)
	}
	b.DNS.Certificate, b.DNS.Key = f.place(b.DNS.Certificate), f.place(b.DNS.Key)
	b.DNS.TrustAnchors = f.place(b.DNS.TrustAnchors)
	b.Proxy.Certificate, b.Proxy.Key = f.place(b.Proxy.Certificate), f.place(b.Proxy.Key)
	for i, name := range b.Gateway.DoHAddresses {
		b.Gateway.DoHAddresses[i] = f.place(name)
	}
	b.Inspect.UpstreamRoots = f.place(b.Inspect.UpstreamRoots)
	b.Mail.PasswordFile, b.Mail.CAFile = f.place(b.Mail.PasswordFile), f.place(b.Mail.CAFile)
}
