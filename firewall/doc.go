// Package firewall writes the nftables rules of a gateway box: what may pass
// between the school's networks, the box and the internet. It decides nothing
// about sites; it sees to it that everything that could be a site goes through
// the doors, and that nothing else leaves.
//
// A packet from a client is looked at in this order:
//
//  1. its source must belong to the network it came from
//  2. what the school listed (Allow) passes
//  3. QUIC, encrypted DNS, tunnels and known DNS-over-HTTPS addresses are turned back
//  4. DNS, HTTP and TLS are turned to the box's own doors, wherever they were going
//  5. the doors, and the management ports from management networks, may be reached
//  6. everything else is dropped
//
// Steps 4 to 6 hold whether or not the daemon runs: a door that is closed refuses,
// and nothing is ever forwarded in its place (D5). IPv4 and IPv6 have the same rules.
//
// The rules are one table, replaced whole in one transaction, and are checked
// against the kernel by listing both; other tables are left alone, and cannot open
// what ours drops. The package never flushes a ruleset, logs no packet and needs
// nft(8) only to load and to compare.
package firewall
