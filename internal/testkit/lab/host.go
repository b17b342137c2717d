package lab

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"
)

// Host is a device in one of the school's networks.
type Host struct {
	*namespace
	IPv4, IPv6       string // its own addresses
	Router4, Router6 string // the box's there
	further          bool   // shares its cable: it must say which address is its own
	lab              *Lab
	trusts           *x509.CertPool // the authorities it believes; nil is the lab's own
}

// patience is how long a probe waits for an answer that should never come; one
// that should come gets longer.
const (
	patience = time.Second
	longTime = time.Minute
)

// Dial connects from the device, to an address.
func (h *Host) Dial(ctx context.Context, network, addr string) (conn net.Conn, err error) {
	if _, err := netip.ParseAddrPort(addr); err != nil {
		return nil, fmt.Errorf("dial %q: devices resolve names themselves", addr)
	}
	h.do(func() { conn, err = h.dialer(network, addr).DialContext(ctx, network, addr) })
	return conn, err
}

// dialer dials from the device's own address.
func (h *Host) dialer(network, addr string) *net.Dialer {
	if !h.further {
		return &net.Dialer{}
	}
	own := h.own(strings.HasPrefix(addr, "["))
	if network == "udp" {
		return &net.Dialer{LocalAddr: &net.UDPAddr{IP: net.ParseIP(own)}}
	}
	return &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(own)}}
}

// own is the device's address.
func (h *Host) own(v6 bool) string {
	if v6 {
		return h.IPv6
	}
	return h.IPv4
}

// Probe says what comes of sending something to an address: "open" if somebody
// out there answered, "connected" and more if somebody took a TCP connection and
// did not, "refused" if it was turned away at once, "silent" if
// nothing came back.
func (h *Host) Probe(network, addr string) string {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := h.Dial(ctx, network, addr)
	if err != nil {
		return outcome(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err.Error()
	}
	if _, err := io.WriteString(conn, "who is there"); err != nil {
		return outcome(err)
	}
	reply := make([]byte, 512)
	count, err := conn.Read(reply)
	switch {
	case err != nil && network == "tcp":
		return "connected, then " + outcome(err)
	case err != nil:
		return outcome(err)
	}
	if string(reply[:count]) == greeting {
		return "open"
	}
	return fmt.Sprintf("answered %q", reply[:count])
}

// ProbeProtocol is Probe with a protocol of IP that has no ports.
func (h *Host) ProbeProtocol(protocol int, addr string) string {
	network, any := "ip4", "0.0.0.0"
	message := []byte("who is there")
	if strings.Contains(addr, ":") {
		network, any = "ip6", "::"
	}
	switch protocol {
	case unix.IPPROTO_ICMP:
		message = []byte{8, 0, 0xf7, 0xff, 0, 0, 0, 0} // echo, with its checksum
	case unix.IPPROTO_ICMPV6:
		message = []byte{128, 0, 0, 0, 0, 0, 0, 0} // echo; the kernel adds the checksum
	}
	conn := h.listenPacket(fmt.Sprintf("%s:%d", network, protocol), any)
	defer conn.Close()
	if _, err := conn.WriteTo(message, &net.IPAddr{IP: net.ParseIP(addr)}); err != nil {
		return outcome(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return err.Error()
	}
	for reply := make([]byte, 512); ; {
		_, from, err := conn.ReadFrom(reply)
		if err != nil {
			return outcome(err)
		}
		if from.String() == addr {
			return "open"
		}
	}
}

// outcome is an error of the network in a word.
func outcome(err error) string {
	var timeout net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EACCES):
		return "refused"
	case errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return "silent"
	case errors.Is(err, io.EOF):
		return "closed"
	}
	return err.Error()
}

// Ask asks a name server, for the address it is told to ask.
func (h *Host) Ask(network, server, name string, qtype uint16) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(context.Background(), longTime)
	defer cancel()
	conn, err := h.Dial(ctx, network, server)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	q := new(dns.Msg).SetQuestion(dns.Fqdn(name), qtype)
	q.SetEdns0(1232, false)
	client := dns.Client{Net: network, Timeout: longTime, UDPSize: 1232}
	reply, _, err := client.ExchangeWithConn(q, &dns.Conn{Conn: conn, UDPSize: 1232})
	return reply, err
}

// Lookup is the address that the device gets for a name from its name server, the
// box, over IPv4 or IPv6.
func (h *Host) Lookup(name string, v6 bool) (netip.Addr, error) {
	server, qtype := h.Router4, dns.TypeA
	if v6 {
		server, qtype = h.Router6, dns.TypeAAAA
	}
	reply, err := h.Ask("udp", net.JoinHostPort(server, "53"), name, qtype)
	if err != nil {
		return netip.Addr{}, err
	}
	for _, rr := range reply.Answer {
		switch rr := rr.(type) {
		case *dns.A:
			return netip.ParseAddr(rr.A.String())
		case *dns.AAAA:
			return netip.ParseAddr(rr.AAAA.String())
		}
	}
	return netip.Addr{}, fmt.Errorf("%s: %s, no address", name, dns.RcodeToString[reply.Rcode])
}

func (h *Host) roots() *x509.CertPool {
	if h.trusts != nil {
		return h.trusts
	}
	return h.lab.Authority.Pool()
}

// Browser is an HTTP client on the device that trusts the lab's own authority. to
// gives the address for a host and port; nil asks the box.
func (h *Host) Browser(v6 bool, to func(hostport string) string) *http.Client {
	transport := &http.Transport{
		ForceAttemptHTTP2: true,
		TLSClientConfig:   &tls.Config{RootCAs: h.roots()},
		DialContext: func(ctx context.Context, network, hostport string) (net.Conn, error) {
			if to != nil {
				return h.Dial(ctx, network, to(hostport))
			}
			host, port, err := net.SplitHostPort(hostport)
			if err != nil {
				return nil, err
			}
			addr, err := h.Lookup(host, v6)
			if err != nil {
				return nil, err
			}
			return h.Dial(ctx, network, net.JoinHostPort(addr.String(), port))
		},
	}
	h.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: longTime}
}

// Get fetches a page and gives status, what wrote it, and its text.
func Get(c *http.Client, url string) (status int, origin, text string, err error) {
	resp, err := c.Get(url)
	if err != nil {
		return 0, "", "", err
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return resp.StatusCode, resp.Header.Get(originHeader), string(page), err
}
