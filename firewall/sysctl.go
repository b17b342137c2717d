package firewall

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Sysctl is a setting of the kernel that the rules rely on. Its path is below
// /proc/sys: an interface's name may hold a dot, so dots do not part it.
type Sysctl struct {
	Path, Value string
	Why         string
}

// sysctls are in the order to be set: net/ipv6/conf/all sets every interface, so
// it comes first. Unless something is allowed through, IPv4 and IPv6 forwarding
// are off altogether; IPv6 then still calls itself a router on the interfaces of
// clients, who would drop their route otherwise (RFC 4861, 7.2.5).
func (c *Config) sysctls() []Sysctl {
	forwarding, why := "0", "nothing is allowed through"
	if c.forwards() {
		forwarding, why = "1", "gateway.allow lets something through"
	}
	list := []Sysctl{
		{"net/ipv4/ip_forward", forwarding, why},
		{"net/ipv6/conf/all/forwarding", forwarding, why},
		{"net/ipv4/conf/all/rp_filter", "1", "a source must be where the way back to it leads"},
		{"net/ipv4/conf/all/accept_redirects", "0", "no client changes our routes"},
		{"net/ipv4/conf/all/send_redirects", "0", "no client is told a shorter way"},
		{"net/ipv4/conf/all/accept_source_route", "0", "no packet chooses its own way"},
		{"net/ipv6/conf/all/accept_redirects", "0", "no client changes our routes"},
	}
	for _, n := range c.Networks {
		list = append(list,
			Sysctl{"net/ipv6/conf/" + n.Interface + "/forwarding", "1", "the box is the router of its clients"},
			Sysctl{"net/ipv6/conf/" + n.Interface + "/accept_ra", "0", "Y23: no client tells us a route"},
			Sysctl{"net/ipv4/conf/" + n.Interface + "/accept_redirects", "0", "no client changes our routes"},
			Sysctl{"net/ipv4/conf/" + n.Interface + "/send_redirects", "0", "no client is told a shorter way"},
		)
	}
	return list
}

// procSys is where the kernel shows its settings.
const procSys = "/proc/sys"

// set makes a setting. An interface that is not there yet has none: it is set
// when the rules are applied again.
func (s Sysctl) set() error {
	err := os.WriteFile(filepath.Join(procSys, s.Path), []byte(s.Value+"\n"), 0o644)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// differs says how the kernel's setting is another, "" if it is not.
func (s Sysctl) differs() (string, error) {
	have, err := os.ReadFile(filepath.Join(procSys, s.Path))
	switch {
	case errors.Is(err, os.ErrNotExist):
		return "", nil
	case err != nil:
		return "", err
	}
	if got := strings.TrimSpace(string(have)); got != s.Value {
		return fmt.Sprintf("%s is %s, want %s (%s)", s.Path, got, s.Value, s.Why), nil
	}
	return "", nil
}
