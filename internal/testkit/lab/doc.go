// Package lab is a school in network namespaces: pupils, staff, guests and IT on
// networks of their own, the gateway with the real schoolgate binary and its
// firewall, and an internet with name servers, sites and every port open. Tests
// use it to show what a network can show: that there is no way round.
//
// Nothing leaves the machine: each namespace is joined to the gateway's by a veth
// pair and to nothing else, and all addresses are private or from documentation
// ranges. It needs root, iproute2 and nftables, and skips loudly without them.
//
// A lab in which a forbidden way never worked proves nothing: Open takes the
// firewall away, and the same probes must then come through.
package lab
