package clients

import (
	"context"
	"encoding/binary"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"schoolgate/policy"
)

var byString = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })

const arpTable = `IP address       HW type     Flags       HW address            Mask     Device
10.2.15.20       0x1         0x2         02:00:5e:10:64:01     *        eth0
10.2.15.21       0x1         0x0         00:00:00:00:00:00     *        eth0
10.2.15.22       0x1         0x6         02:00:5e:10:06:01     *        br0
junk
10.2.15.23       0x1         0x2         02:00:5e              *        eth0
999.2.15.23      0x1         0x2         02:00:5e:10:06:02     *        eth0
127.0.0.1        0x1         0x2         02:00:5e:10:06:02     *        lo
`

func TestParseARPKeepsWhatIsComplete(t *testing.T) {
	got, err := parseARP(strings.NewReader(arpTable))
	want := []Neighbour{
		{netip.MustParseAddr("10.2.15.20"), [6]byte{2, 0, 0x5e, 0x10, 0x64, 1}},
		{netip.MustParseAddr("10.2.15.22"), [6]byte{2, 0, 0x5e, 0x10, 0x06, 1}},
	}
	if diff := cmp.Diff(want, got, byString); diff != "" || err != nil {
		t.Errorf("parseARP: err %v, -want +got\n%s", err, diff)
	}
}

// ndmsg builds a neighbour message as the kernel lays it out.
func ndmsg(state uint16, attrs ...[]byte) []byte {
	b := make([]byte, neighbourHeader)
	binary.NativeEndian.PutUint16(b[8:], state)
	for _, a := range attrs {
		b = append(b, a...)
		for len(b)%4 != 0 {
			b = append(b, 0)
		}
	}
	return b
}

func attr(kind uint16, value ...byte) []byte {
	b := binary.NativeEndian.AppendUint16(nil, uint16(4+len(value)))
	return append(binary.NativeEndian.AppendUint16(b, kind), value...)
}

func TestParseNeighbour(t *testing.T) {
	addr := netip.MustParseAddr("fd00::21")
	dst, hw := attr(attrDestination, addr.AsSlice()...), attr(attrHardware, 2, 0, 0x5e, 0x10, 6, 1)
	for _, tt := range []struct {
		promise string
		message []byte
		ok      bool
		err     error
	}{
		{"reachable", ndmsg(stateReachable, dst, hw), true, nil},
		{"stale is still who it was", ndmsg(stateStale, hw, dst), true, nil},
		{"unknown attributes are passed over", ndmsg(stateStale, attr(9, 1, 2, 3), dst, hw), true, nil},
		{"failed", ndmsg(0x20, dst, hw), false, nil},
		{"incomplete", ndmsg(0x01, dst), false, nil},
		{"no address", ndmsg(stateReachable, hw), false, nil},
		{"address of five bytes", ndmsg(stateReachable, attr(attrDestination, 1, 2, 3, 4, 5), hw), false, nil},
		{"hardware address of eight bytes", ndmsg(stateReachable, dst, attr(attrHardware, 1, 2, 3, 4, 5, 6, 7, 8)), false, nil},
		{"multicast", ndmsg(stateReachable, attr(attrDestination, netip.MustParseAddr("ff02::1").AsSlice()...), hw), false, nil},
		{"cut in the header", ndmsg(stateReachable)[:7], false, errShort},
		{"attribute longer than the message", append(ndmsg(stateReachable), 200, 0, 1, 0), false, errShort},
		{"attribute of length zero", append(ndmsg(stateReachable), 0, 0, 1, 0), false, errShort},
	} {
		n, ok, err := parseNeighbour(tt.message)
		if ok != tt.ok || !errors.Is(err, tt.err) || (ok && n.Addr != addr) {
			t.Errorf("%s: parseNeighbour = %v, %v, %v, want ok %v, err %v", tt.promise, n, ok, err, tt.ok, tt.err)
		}
	}
}

func TestTheKernelCanBeAsked(t *testing.T) {
	if _, err := readARP(); err != nil {
		t.Errorf("readARP: %v", err)
	}
	if _, err := readNeighbours6(); err != nil {
		t.Skipf("SKIPPED: this machine has no route socket: %v", err)
	}
}

// network is a kernel's neighbour table that a test changes.
type network struct {
	mu    sync.Mutex
	found []Neighbour
	err   error
}

func (n *network) read() ([]Neighbour, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.found, n.err
}

func (n *network) set(err error, found ...Neighbour) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.found, n.err = found, err
}

func TestHardwareAddressesAgeOut(t *testing.T) { // T20
	synctest.Test(t, func(t *testing.T) {
		addr := netip.MustParseAddr("10.2.15.20")
		staff := hw(t, "02:00:5e:10:64:01")
		net4 := &network{found: []Neighbour{{addr, [6]byte(staff)}}}
		none := &network{}
		table, err := New([]Member{{Group: "staff", MAC: staff}}, Options{
			ReadIPv4: net4.read, ReadIPv6: none.read, Refresh: time.Second, MaxAge: 10 * time.Second,
		})
		if err != nil {
			t.Fatal(err)
		}
		expect := func(when, group string) {
			t.Helper()
			synctest.Wait()
			if got := table.Identify(addr).Group; got != group {
				t.Errorf("%s: Identify(%s).Group = %q, want %q", when, addr, got, group)
			}
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- table.Run(ctx) }()
		expect("seen", "staff")
		net4.set(errors.New("no table"))
		time.Sleep(9 * time.Second)
		expect("unreadable for nine seconds", "staff")
		time.Sleep(3 * time.Second)
		expect("not seen for longer than the age", "")
		net4.set(nil, Neighbour{addr, [6]byte{2, 9, 9, 9, 9, 9}})
		time.Sleep(2 * time.Second)
		expect("the address has changed hands", "")
		net4.set(nil, Neighbour{addr, [6]byte(staff)})
		time.Sleep(2 * time.Second)
		expect("back", "staff")
		net4.set(nil, Neighbour{addr, [6]byte{2, 9, 9, 9, 9, 9}})
		time.Sleep(2 * time.Second)
		expect("changed hands while it was fresh", "")
		stop()
		if err := <-done; err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
	})
}

func TestRunWithoutHardwareAddressesOnlyWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := false
		read := func() ([]Neighbour, error) { asked = true; return nil, nil }
		table, err := New(nil, Options{ReadIPv4: read, ReadIPv6: read})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithTimeout(t.Context(), time.Hour)
		defer stop()
		if err := table.Run(ctx); err != nil || asked {
			t.Errorf("Run = %v, asked the kernel: %v, want nil, false", err, asked)
		}
	})
}

func TestAFullTableLeavesTheRestOut(t *testing.T) {
	table := newTable(t, Member{Group: "staff", MAC: hw(t, "02:00:5e:10:64:01")})
	var found []Neighbour
	for i := range maxNeighbours + 10 {
		found = append(found, Neighbour{netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), [6]byte{2, 1}})
	}
	table.watch.read[0].read = func() ([]Neighbour, error) { return found, nil }
	table.refresh(time.Now())
	if got := len(*table.neighbours.Load()); got != maxNeighbours {
		t.Errorf("%d neighbours kept, want %d", got, maxNeighbours)
	}
	if got := testutil.ToFloat64(table.watch.metrics.overflow); got != 10 {
		t.Errorf("%v counted as left out, want 10", got)
	}
}

func FuzzParseARP(f *testing.F) {
	f.Add(arpTable)
	f.Fuzz(func(t *testing.T, text string) {
		found, _ := parseARP(strings.NewReader(text)) // an error is allowed, a crash is not
		for _, n := range found {
			if !usable(n.Addr) || n.MAC == [6]byte{} {
				t.Errorf("parseARP(%q) keeps %v", text, n)
			}
		}
	})
}

func FuzzParseNeighbours(f *testing.F) {
	f.Add(ndmsg(stateReachable, attr(attrDestination, netip.MustParseAddr("fd00::21").AsSlice()...), attr(attrHardware, 2, 0, 0x5e, 0x10, 6, 1)))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if n, ok, err := parseNeighbour(raw); ok && (err != nil || !usable(n.Addr)) {
			t.Errorf("parseNeighbour(%x) = %v, %v", raw, n, err)
		}
		found, _ := parseNeighbours(raw) // an error is allowed, a crash is not
		for _, n := range found {
			if !usable(n.Addr) {
				t.Errorf("parseNeighbours(%x) keeps %v", raw, n)
			}
		}
	})
}

var _ policy.Identifier = (*Table)(nil)
