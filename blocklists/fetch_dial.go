package blocklists

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"syscall"
	"time"
)

// inside is every range that is not the public internet. No list is fetched from
// there unless the operator opened the range (T2).
var inside = func() (list []netip.Prefix) {
	for _, s := range []string{
		"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
		"192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/4", "240.0.0.0/4",
		"::/96", "::ffff:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2002::/16",
		"fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8",
	} {
		list = append(list, netip.MustParsePrefix(s))
	}
	return list
}()

// dialer connects to publishers, or to the proxy that the operator named.
type dialer struct {
	resolver Resolver
	allow    []netip.Prefix
	proxy    string // host:port that may be reached whatever its address; "" for none
}

const (
	dialTimeout = 15 * time.Second
	maxTried    = 4 // addresses of one name
)

func (d *dialer) permitted(a netip.Addr) bool {
	holds := func(p netip.Prefix) bool { return p.Contains(a) }
	return a.IsValid() && a.Zone() == "" && (slices.ContainsFunc(d.allow, holds) || !slices.ContainsFunc(inside, holds))
}

// dial resolves and connects. The address is judged on the socket, after
// resolving, so it does not matter who answered what.
func (d *dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	socket := net.Dialer{Control: d.control}
	if address == d.proxy {
		socket.Control = nil // named by the operator, who may keep it inside
	}
	addrs, err := d.lookup(ctx, host)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, a := range addrs[:min(len(addrs), maxTried)] {
		conn, err := socket.DialContext(ctx, network, net.JoinHostPort(a.String(), port))
		if err == nil {
			return conn, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

func (d *dialer) lookup(ctx context.Context, host string) (addrs []netip.Addr, err error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}, nil
	}
	if d.resolver != nil {
		addrs, err = d.resolver.LookupHost(ctx, host)
	} else {
		addrs, err = net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	}
	if err == nil && len(addrs) == 0 {
		err = fmt.Errorf("%q has no address", host)
	}
	for i, a := range addrs {
		addrs[i] = a.Unmap() // as the system's resolver writes IPv4; the ranges are judged either way
	}
	return addrs, err
}

// control is the last look at an address, on the socket itself.
func (d *dialer) control(_, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInside, err)
	}
	if !d.permitted(at.Addr()) {
		return fmt.Errorf("%w: %s", ErrInside, at.Addr())
	}
	return nil
}

// redirect judges one step. Names are judged by dial; an address in the URL is
// judged here too, since behind a proxy nothing of ours dials it.
func (d *dialer) redirect(next *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return fmt.Errorf("%w: more than %d", ErrRedirect, maxRedirects)
	}
	last := via[len(via)-1].URL
	if next.URL.Scheme != "https" && (next.URL.Scheme != "http" || last.Scheme == "https") {
		return fmt.Errorf("%w: from %s to %s", ErrRedirect, last.Scheme, next.URL.Scheme)
	}
	if next.URL.User != nil {
		return fmt.Errorf("%w: to an address with a name or password", ErrRedirect)
	}
	if a, err := netip.ParseAddr(next.URL.Hostname()); err == nil && !d.permitted(a) {
		return fmt.Errorf("%w: %w: %s", ErrRedirect, ErrInside, a)
	}
	dropCredential(next, via)
	return nil
}

// proxyAddress is the host:port that net/http dials for a proxy, or for a server.
func proxyAddress(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}
