package clients

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Bounds on the neighbour table: a network with more devices than this is not a
// school's, and what is over is left out and counted, so its devices are known by
// address range only.
const (
	maxNeighbours = 16_384
	maxTable      = 4 << 20 // bytes of /proc/net/arp
)

const (
	defaultRefresh = 5 * time.Second
	defaultMaxAge  = 2 * time.Minute
)

// Options is how the neighbour table is kept up; the zero value is right for a box.
type Options struct {
	// ReadIPv4 and ReadIPv6 give the kernel's neighbours; nil reads the real ones.
	ReadIPv4, ReadIPv6 func() ([]Neighbour, error)
	Refresh            time.Duration // how often they are read; 0 is 5 s
	MaxAge             time.Duration // how long one is believed after it was last seen; 0 is 2 min

	Log     *slog.Logger          // nil is silent
	Metrics prometheus.Registerer // nil leaves them unregistered
}

// Neighbour is a device on the same network as the box.
type Neighbour struct {
	Addr netip.Addr
	MAC  [6]byte
}

// watch is what keeps the neighbours of a table up.
type watch struct {
	read    []source
	refresh time.Duration
	maxAge  time.Duration
	log     *slog.Logger
	metrics *metrics
	seen    map[netip.Addr]sighting // owned by Run
}

type source struct {
	family string
	read   func() ([]Neighbour, error)
	broken bool // it failed last time, and that has been logged
}

type sighting struct {
	mac mac
	at  time.Time
}

func newWatch(o Options) watch {
	w := watch{
		read:    []source{{family: "ipv4", read: o.ReadIPv4}, {family: "ipv6", read: o.ReadIPv6}},
		refresh: o.Refresh, maxAge: o.MaxAge, log: o.Log,
		metrics: newMetrics(o.Metrics), seen: map[netip.Addr]sighting{},
	}
	if w.read[0].read == nil {
		w.read[0].read = readARP
	}
	if w.read[1].read == nil {
		w.read[1].read = readNeighbours6
	}
	if w.refresh <= 0 {
		w.refresh = defaultRefresh
	}
	if w.maxAge <= 0 {
		w.maxAge = defaultMaxAge
	}
	if w.log == nil {
		w.log = slog.New(slog.DiscardHandler)
	}
	return w
}

// Run keeps the neighbours up until ctx is done and returns nil. A table without
// hardware addresses has nothing to look for and only waits.
func (t *Table) Run(ctx context.Context) error {
	if len(t.byMAC) == 0 {
		<-ctx.Done()
		return nil
	}
	tick := time.NewTicker(t.watch.refresh)
	defer tick.Stop()
	for {
		t.refresh(time.Now())
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// refresh reads the neighbours and publishes those that are believed now. A
// family that cannot be read keeps what was seen of it until that is too old.
func (t *Table) refresh(now time.Time) {
	w := &t.watch
	for i := range w.read {
		s := &w.read[i]
		found, err := s.read()
		if err != nil {
			w.metrics.failures.Inc()
			if !s.broken {
				w.log.Warn("neighbour table not read, devices are known by address only", "family", s.family, "err", err)
			}
		}
		s.broken = err != nil
		for _, n := range found {
			w.note(n, now)
		}
	}
	maps.DeleteFunc(w.seen, func(_ netip.Addr, s sighting) bool { return now.Sub(s.at) > w.maxAge || now.Before(s.at) })
	current := make(map[netip.Addr]mac, len(w.seen))
	for a, s := range w.seen {
		current[a] = s.mac
	}
	w.metrics.neighbours.Set(float64(len(current)))
	t.neighbours.Store(&current)
}

func (w *watch) note(n Neighbour, now time.Time) {
	addr := n.Addr.Unmap().WithZone("")
	if _, known := w.seen[addr]; !known && len(w.seen) >= maxNeighbours {
		w.metrics.overflow.Inc()
		return
	}
	w.seen[addr] = sighting{n.MAC, now}
}

// readARP reads the kernel's IPv4 neighbours.
func readARP() ([]Neighbour, error) {
	f, err := os.Open("/proc/net/arp")
	if err != nil {
		return nil, err
	}
	defer f.Close() // read only: nothing can be lost
	return parseARP(f)
}

// arpComplete is the flag of an entry whose device has answered (ATF_COM).
const arpComplete = 0x2

// parseARP reads /proc/net/arp: a heading, then address, type, flags, hardware
// address, mask and device. A line of another shape is passed over: half a table
// knows half the devices, none would know nobody.
func parseARP(r io.Reader) ([]Neighbour, error) {
	var found []Neighbour
	s := bufio.NewScanner(io.LimitReader(r, maxTable))
	for s.Scan() {
		f := strings.Fields(s.Text())
		if len(f) < 6 {
			continue
		}
		addr, err := netip.ParseAddr(f[0])
		if err != nil || !usable(addr) || !complete(f[2]) {
			continue
		}
		hw, err := net.ParseMAC(f[3])
		if err != nil || len(hw) != len(mac{}) || mac(hw) == (mac{}) {
			continue
		}
		found = append(found, Neighbour{Addr: addr, MAC: mac(hw)})
	}
	if err := s.Err(); err != nil {
		return found, fmt.Errorf("neighbour table: %w", err)
	}
	return found, nil
}

func complete(flags string) bool {
	var n uint
	_, err := fmt.Sscanf(flags, "0x%x", &n)
	return err == nil && n&arpComplete != 0
}

// usable reports whether an address can be a client's.
func usable(a netip.Addr) bool {
	return a.IsValid() && !a.IsUnspecified() && !a.IsMulticast() && !a.IsLoopback()
}

// errShort is a message of the kernel that ends before it should.
var errShort = errors.New("neighbour message cut short")
