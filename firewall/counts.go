package firewall

import (
	"context"
	"encoding/json"
	"fmt"
)

// Count is how many packets met a rule since the rules were loaded. It names no
// client and no address: it says that somebody tries, not who.
type Count struct {
	What    string // the comment of the rule
	Packets uint64
}

// Counts are those of every rule that counts, in the order of the rules, summed
// over IPv4 and IPv6.
func (r *Rules) Counts(ctx context.Context) ([]Count, error) {
	listing, err := nft(ctx, "", "-j", "list", "table", "inet", table)
	if err != nil {
		return nil, err
	}
	return parseCounts([]byte(listing))
}

func parseCounts(listing []byte) (counts []Count, err error) {
	var list struct {
		NFTables []struct {
			Rule *struct {
				Comment string
				Expr    []struct {
					Counter *struct{ Packets uint64 }
				}
			}
		}
	}
	if err := json.Unmarshal(listing, &list); err != nil {
		return nil, fmt.Errorf("nft's list: %w", err)
	}
	at := map[string]int{}
	for _, object := range list.NFTables {
		if object.Rule == nil || object.Rule.Comment == "" {
			continue
		}
		for _, expr := range object.Rule.Expr {
			if expr.Counter == nil {
				continue
			}
			i, known := at[object.Rule.Comment]
			if !known {
				i = len(counts)
				at[object.Rule.Comment] = i
				counts = append(counts, Count{What: object.Rule.Comment})
			}
			counts[i].Packets += expr.Counter.Packets
		}
	}
	return counts, nil
}
