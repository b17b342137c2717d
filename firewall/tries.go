package firewall

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// triesTable is a table of its own that only notes who tries what: it decides
// nothing, so that whatever becomes of it opens nothing.
const triesTable = "schoolgate_tries"

// Try is a client that sent something which is dropped, and what it was.
type Try struct {
	Client netip.Addr `json:"client"`
	Kind   string     `json:"kind"` // a word of [TryKinds]
}

// TryKinds are the ways round that have a name: what a device in order does not do
// by itself. Browsers do QUIC, and many devices have a name server of their own.
var TryKinds = []string{"dns_over_tls", "dns_over_quic", "doh_address", "tunnel", "vpn"}

// tried are what makes a try, beside the rules of from_clients that drop it.
var tried = []struct{ kind, match string }{
	{"dns_over_tls", "tcp dport 853 fib daddr type != local"},
	{"dns_over_quic", "udp dport { 784, 853, 8853 } fib daddr type != local"},
	{"doh_address", "%[1]s daddr @doh%[2]s tcp dport != 53"},
	{"tunnel", "meta l4proto { 4, 41 }"},
	{"tunnel", "udp dport 3544"},
	{"vpn", "meta l4proto { 47, 50, 51, 115 }"},
	{"vpn", "udp dport { 500, 1194, 1701, 4500, 9993, 41641, 51820 }"},
	{"vpn", "tcp dport { 1194, 1723 }"},
}

// watching is the table: for each kind and family a set of clients, which empties
// itself, and rules without a verdict that fill it.
func (r *Rules) watching() string {
	w := &writer{}
	w.line("table inet %s", triesTable)
	w.line("delete table inet %s", triesTable)
	w.block("table inet "+triesTable, func() {
		r.sets(w)
		for _, kind := range TryKinds {
			for _, f := range families {
				w.line("set %s%s { type %s; size 4096; flags dynamic,timeout; timeout 10m; }", kind, f.version, f.addrType)
			}
		}
		r.allowed(w)
		w.block("chain watch", func() {
			w.line("type filter hook prerouting priority mangle - 10; policy accept;")
			w.line("iifname != @clients accept")
			for _, f := range families {
				w.line("meta nfproto ipv%s iifname . %s saddr != @sources%s accept", f.version, f.ip, f.version) // not who it says
			}
			w.line("jump allowed")
			for _, t := range tried {
				for _, f := range families {
					match := t.match
					if strings.Contains(match, "%") {
						match = fmt.Sprintf(match, f.ip, f.version)
					}
					w.line("meta nfproto ipv%s %s update @%s%s { %s saddr }", f.version, match, t.kind, f.version, f.ip)
				}
			}
		})
	})
	return w.b.String()
}

// Tries are the clients that tried something since the last call. The first call
// begins to watch.
func (r *Rules) Tries(ctx context.Context) ([]Try, error) {
	listing, err := nft(ctx, "", "-j", "list", "table", "inet", triesTable)
	if absent := (absentError{}); errors.As(err, &absent) {
		_, err := nft(ctx, r.watching(), "-f", "-")
		return nil, err
	}
	if err != nil {
		return nil, err
	}
	tries, err := parseTries([]byte(listing))
	if err != nil || len(tries) == 0 {
		return nil, err
	}
	var seen strings.Builder
	for _, t := range tries {
		version := "6"
		if t.Client.Is4() {
			version = "4"
		}
		fmt.Fprintf(&seen, "delete element inet %s %s%s { %s }\n", triesTable, t.Kind, version, t.Client)
	}
	_, err = nft(ctx, seen.String(), "-f", "-")
	return tries, err
}

func parseTries(listing []byte) (tries []Try, err error) {
	var list struct {
		NFTables []struct {
			Set *struct {
				Name string
				Elem []json.RawMessage
			}
		}
	}
	if err := json.Unmarshal(listing, &list); err != nil {
		return nil, fmt.Errorf("nft's list: %w", err)
	}
	for _, object := range list.NFTables {
		if object.Set == nil {
			continue
		}
		for _, kind := range TryKinds {
			if name := object.Set.Name; name != kind+"4" && name != kind+"6" {
				continue
			}
			for _, e := range object.Set.Elem {
				client, err := element(e)
				if err != nil {
					return nil, fmt.Errorf("nft's list: set %s: %w", object.Set.Name, err)
				}
				tries = append(tries, Try{client, kind})
			}
		}
	}
	return tries, nil
}

// element is the address of a set's element, with its timeout or without.
func element(text json.RawMessage) (netip.Addr, error) {
	var timed struct{ Elem struct{ Val string } }
	var bare string
	if json.Unmarshal(text, &bare) != nil {
		if err := json.Unmarshal(text, &timed); err != nil {
			return netip.Addr{}, err
		}
		bare = timed.Elem.Val
	}
	return netip.ParseAddr(bare)
}
