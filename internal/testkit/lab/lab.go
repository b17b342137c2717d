package lab

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Lab is the school and the internet around it.
type Lab struct {
	Gateway                 *Gateway
	Pupil, Staff, Guest, IT *Host
	Internet                *internet
	Authority               *Authority
	t                       testing.TB
}

// New builds the lab, with the gateway's firewall applied and the appliance
// running.
func New(t testing.TB) *Lab {
	t.Helper()
	need(t)
	removeStale(t)
	l := &Lab{t: t, Authority: newAuthority(t)}
	l.Internet = &internet{namespace: newNamespace(t, "inet")}
	gw := newNamespace(t, "gw")
	l.wan(gw)
	l.Pupil = l.network(gw, "pupils", "2")
	l.Staff = l.network(gw, "staff", "3")
	l.Guest = l.network(gw, "guests", "4")
	l.IT = l.network(gw, "it", "9")
	l.Internet.start(l.Authority)
	l.Gateway = newGateway(l, gw)
	l.Gateway.Apply()
	l.Gateway.Start()
	return l
}

// need skips where a lab cannot be.
func need(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: the lab makes network namespaces, which needs root")
	}
	for _, tool := range []string{"ip", "nft", "setpriv", "go"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("SKIPPED: the lab needs %s (deploy/test-deps installs iproute2 and nftables)", tool)
		}
	}
	probe := "sglab-probe-" + strconv.Itoa(os.Getpid())
	if out, err := exec.Command("ip", "netns", "add", probe).CombinedOutput(); err != nil {
		t.Skipf("SKIPPED: no network namespaces here: %v: %s", err, out)
	}
	ip(t, "netns del "+probe)
}

// removeStale removes what a killed lab left behind.
func removeStale(t testing.TB) {
	t.Helper()
	left, err := filepath.Glob("/run/netns/sglab*-*")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range left {
		name := filepath.Base(path)
		pid, _, _ := strings.Cut(strings.TrimPrefix(name, "sglab"), "-")
		if _, err := os.Stat("/proc/" + pid); os.IsNotExist(err) {
			ip(t, "netns del "+name)
		}
	}
}

// wan joins the gateway to the internet. The internet knows the way back to every
// network of the school: only the firewall keeps it from being used.
func (l *Lab) wan(gw *namespace) {
	inet := l.Internet.namespace
	join(l.t, gw, "wan0", inet, "eth0")
	gw.addresses("wan0", "192.0.2.1/24", "2001:db8:1::1/64")
	inet.addresses("eth0", "192.0.2.254/24", "2001:db8:1::254/64")
	for _, h := range internetHosts {
		inet.addresses("lo", Address(h, false)+"/32", Address(h, true)+"/128")
	}
	ip(l.t, "-n "+gw.name+" route add default via 192.0.2.254")
	ip(l.t, "-n "+gw.name+" -6 route add default via 2001:db8:1::254")
	ip(l.t, "-n "+inet.name+" route add 10.77.0.0/16 via 192.0.2.1")
	ip(l.t, "-n "+inet.name+" -6 route add 2001:db8:7000::/36 via 2001:db8:1::1")
}

// network makes a network with one device in it.
func (l *Lab) network(gw *namespace, name, number string) *Host {
	h := &Host{
		namespace: newNamespace(l.t, name), lab: l,
		Router4: "10.77." + number + ".1", Router6: "2001:db8:700" + number + "::1",
		IPv4: "10.77." + number + ".7", IPv6: "2001:db8:700" + number + "::7",
	}
	join(l.t, gw, name, h.namespace, "eth0")
	gw.addresses(name, h.Router4+"/24", h.Router6+"/64")
	h.addresses("eth0", h.IPv4+"/24", h.IPv6+"/64")
	ip(l.t, "-n "+h.name+" route add default via "+h.Router4)
	ip(l.t, "-n "+h.name+" -6 route add default via "+h.Router6)
	return h
}
