package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"schoolgate/policy"
	"schoolgate/proxy/pagescan"
	"schoolgate/proxy/socket"
)

// Decider answers for one request; [policy.Engine] is one.
type Decider interface {
	Decide(policy.Request) policy.Ruling
}

// Resolver looks names up unfiltered, through the box's own upstreams: the
// verdict has been given by then.
type Resolver interface {
	LookupHost(ctx context.Context, name string) ([]netip.Addr, error)
}

// Pages writes the pages that a person sees: for a refusal (e.Status 403) and
// for an error (any other status). It sets the headers that belong to the page.
// The event has been recorded, so its ID is the reference to show. gzip: the client
// takes a page compressed; one that is says so in its headers.
type Pages interface {
	Page(header http.Header, r policy.Ruling, e *policy.Event, gzip bool) ([]byte, error)
}

// Button takes a press of a button, by a client.
type Button func(w http.ResponseWriter, r *http.Request, client netip.Addr)

// Config is what a Server needs. Decider, Sink, Resolver and Pages must be set.
type Config struct {
	Listen []string // addresses of the explicit proxy, e.g. 127.0.0.1:3128; may be empty
	// TLSListen are addresses of the explicit proxy inside TLS (https proxies, in a
	// PAC file), and TLS its certificate; where SignIn knows people, they are asked there.
	TLSListen []string
	TLS       *tls.Config
	SignIn    SignIn      // nil asks nobody
	Name      policy.Host // by which devices know the box, for proxy.pac; zero is its address

	PageListen []string // addresses the DNS sinkhole points at; may be empty
	// Transparent doors take what the gateway redirects to them.
	Transparent Transparent
	Memory      Memory // of the DNS door; may be nil

	Decider  Decider
	Sink     policy.Sink
	Resolver Resolver
	Pages    Pages

	// Buttons take the presses of the buttons that block pages have, posted to a path
	// of ours on whatever site the page stands for: the site never hears of it.
	Buttons map[string]Button

	ConnectPorts []uint16 // ports CONNECT may name besides 443
	HTTPPorts    []uint16 // ports a plain URL may name besides 80
	// AllowDestinations are ranges of the inside that may be reached, as a
	// school's intranet needs. Plain HTTP may use any port there. An address
	// of the box itself, loopback apart, is reached only if it is listed alone.
	AllowDestinations []netip.Prefix
	// School are the school's own networks. They are of the inside even where
	// their addresses are public, as most of IPv6 is: a guest reaches no computer
	// of the staff by way of us.
	School []netip.Prefix

	Inspection *Inspection // nil looks inside nothing
	Watch      Watch       // nil hears no search

	Phrases *pagescan.Set // what pages are read for; nil reads none

	Limits  Limits
	Log     *slog.Logger
	Metrics prometheus.Registerer

	original func(own netip.AddrPort) (netip.AddrPort, bool) // tests: in place of the kernel
}

// Limits bounds time and number. A zero field takes its default; New fills them.
type Limits struct {
	Conns          int // client connections in all; at the bound new ones are refused
	ConnsPerClient int // the same, for one address
	HeaderBytes    int // request line and headers

	HeaderTime  time.Duration // to read a request's headers
	IdleClient  time.Duration // a kept connection without a request
	Hello       time.Duration // to read a ClientHello
	Resolve     time.Duration // to look a name up
	Dial        time.Duration // to connect to an origin, all addresses together
	OriginReply time.Duration // until an origin's reply headers are there
	IdleStream  time.Duration // a body or tunnel on which nothing moves
	ScanHold    time.Duration // the beginning of a page that is read is held so long at most
	Recheck     time.Duration // how often open tunnels are decided anew (Y34)
	Heavy       int64         // bytes on one connection to a site on no list that are told of
	Drain       time.Duration // what is under way may take so long when stopping
}

func (l *Limits) fill() {
	number := func(n *int, def int) {
		if *n <= 0 {
			*n = def
		}
	}
	period := func(d *time.Duration, def time.Duration) {
		if *d <= 0 {
			*d = def
		}
	}
	number(&l.Conns, 16384)
	number(&l.ConnsPerClient, 1024)
	number(&l.HeaderBytes, 64<<10)
	if l.Heavy <= 0 {
		l.Heavy = 50 << 20
	}
	period(&l.HeaderTime, 10*time.Second)
	period(&l.IdleClient, 2*time.Minute)
	period(&l.Hello, 10*time.Second)
	period(&l.Resolve, 5*time.Second)
	period(&l.Dial, 10*time.Second)
	period(&l.OriginReply, 30*time.Second)
	period(&l.IdleStream, 5*time.Minute)
	period(&l.ScanHold, 2*time.Second)
	period(&l.Recheck, 2*time.Second)
	period(&l.Drain, 5*time.Second)
}

// reserve is how many descriptors stay free for the journal, the stores, the DNS
// door and look-ups when every connection is taken (F14).
const reserve = 256

// within is conns, or as many as the descriptors allow: a tunnel takes two.
func within(conns int, descriptors uint64) int {
	if descriptors == 0 || uint64(conns) <= descriptors/2 && descriptors-uint64(conns)*2 >= reserve {
		return conns
	}
	return max(8, (int(descriptors)-reserve)/2)
}

func (c *Config) check() error {
	switch {
	case c.Decider == nil:
		return errors.New("no decider")
	case c.Sink == nil:
		return errors.New("no sink")
	case c.Resolver == nil:
		return errors.New("no resolver")
	case c.Pages == nil:
		return errors.New("no pages")
	case len(c.TLSListen) > 0 && c.TLS == nil:
		return errors.New("no certificate for the proxy inside TLS")
	}
	c.Limits.fill()
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if n := within(c.Limits.Conns, socket.Limit()); n < c.Limits.Conns {
		c.Log.Warn("fewer client connections than configured: too few descriptors", "configured", c.Limits.Conns, "used", n)
		c.Limits.Conns = n
	}
	return nil
}
