package dnsfilter

import (
	"strconv"

	"schoolgate/dnsfilter/upstream"
)

// locality is what a name means to a resolver itself.
type locality uint8

const (
	elsewhere  locality = iota
	canary              // a question whether the network minds: it does (REQUIREMENTS 4.4)
	designated          // a question for an encrypted resolver that we do not offer (Y5)
	loopback            // localhost (RFC 6761)
	localZone           // no name of the public internet (RFC 6303 and kin)
)

// canaries get NXDOMAIN, never an address: an address would say "go on".
var canaries = []string{
	"use-application-dns.net",
	"mask.icloud.com", "mask-h2.icloud.com", "mask-canary.icloud.com", "doh.dns.apple.com",
}

// localZones end here: to send such a question on would tell strangers what the
// school's network looks like, and could bring their answer back.
var localZones = []string{
	"0.in-addr.arpa", "10.in-addr.arpa", "127.in-addr.arpa", "254.169.in-addr.arpa",
	"168.192.in-addr.arpa", "2.0.192.in-addr.arpa", "100.51.198.in-addr.arpa",
	"113.0.203.in-addr.arpa", "255.255.255.255.in-addr.arpa",
	"d.f.ip6.arpa", "8.e.f.ip6.arpa", "9.e.f.ip6.arpa", "a.e.f.ip6.arpa", "b.e.f.ip6.arpa",
	"8.b.d.0.1.0.0.2.ip6.arpa",
	"0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa",
	"1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa",
	"local", "onion", "alt", "home.arpa", "service.arpa",
}

// locals finds the names that end at this box. It is immutable.
type locals struct {
	zones map[string]locality // by wire name, lower case
}

func newLocals() locals {
	l := locals{zones: map[string]locality{}}
	add := func(zone string, what locality) {
		if wire, ok := upstream.WireName(zone); ok {
			l.zones[string(wire)] = what
		}
	}
	for _, zone := range localZones {
		add(zone, localZone)
	}
	for i := 16; i < 32; i++ {
		add(strconv.Itoa(i)+".172.in-addr.arpa", localZone)
	}
	for i := 64; i < 128; i++ {
		add(strconv.Itoa(i)+".100.in-addr.arpa", localZone)
	}
	add("localhost", loopback)
	add("resolver.arpa", designated)
	for _, name := range canaries {
		add(name, canary)
	}
	return l
}

// find gives what a name is, by the nearest zone above it, and that zone.
func (l *locals) find(lower []byte) (locality, []byte) {
	for rest := lower; len(rest) > 1; rest = rest[1+int(rest[0]):] {
		if what, ok := l.zones[string(rest)]; ok {
			if what == canary && len(rest) != len(lower) {
				return elsewhere, nil // the very name only: nothing is below a canary
			}
			return what, rest
		}
	}
	return elsewhere, nil
}
