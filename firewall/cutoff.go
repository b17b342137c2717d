package firewall

import (
	"context"
	"errors"
	"net"
	"net/netip"
)

// cutOffTable is a table of its own that closes what the gateway lets through
// besides the doors to devices in quarantine (R29). It only drops, so that whatever
// becomes of it opens nothing that the gateway's own rules do not.
const cutOffTable = "schoolgate_cutoff"

// CutOff is the devices in quarantine.
type CutOff struct {
	All       bool // every client
	Addresses []netip.Addr
	Hardware  []net.HardwareAddr
}

// CutOff closes what is passed on to these devices, and to those alone from now on:
// both ways, and for what they have open, too.
func (r *Rules) CutOff(ctx context.Context, c CutOff) error {
	_, err := nft(ctx, r.cutOff(c), "-f", "-")
	return err
}

// HasCutOff reports whether there is such a table in the kernel.
func (r *Rules) HasCutOff(ctx context.Context) (bool, error) {
	_, err := nft(ctx, "", "list", "table", "inet", cutOffTable)
	if absent := (absentError{}); errors.As(err, &absent) {
		return false, nil
	}
	return err == nil, err
}

func (r *Rules) cutOff(c CutOff) string {
	w := &writer{}
	w.line("table inet %s", cutOffTable)
	w.line("delete table inet %s", cutOffTable)
	w.block("table inet "+cutOffTable, func() {
		w.set("clients", "ifname", quoted(r.clients))
		for _, f := range families {
			var list []string
			for _, a := range c.Addresses {
				if a.Is4() == f.is4 {
					list = append(list, a.String())
				}
			}
			w.set("cut"+f.version, f.addrType, list)
		}
		var hardware []string
		for _, h := range c.Hardware {
			hardware = append(hardware, h.String())
		}
		w.set("cuthw", "ether_addr", hardware)
		w.block("chain forward", func() {
			w.line("type filter hook forward priority filter - 5; policy accept;")
			if c.All {
				w.line("iifname @clients counter drop")
			}
			w.line("iifname @clients ether saddr @cuthw counter drop")
			for _, f := range families {
				w.line("%s saddr @cut%s counter drop", f.ip, f.version)
				w.line("%s daddr @cut%s counter drop", f.ip, f.version)
			}
		})
	})
	return w.b.String()
}
