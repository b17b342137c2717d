package lab

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
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

// Settings are what a lab's box is set up with.
type Settings struct {
	Box, Policy string         // schoolgate.yaml and policy.yaml
	Prepare     func(*Gateway) // before the box is started; nil does nothing
}

// New builds the lab, with the gateway's firewall applied and the appliance
// running.
func New(t testing.TB) *Lab {
	t.Helper()
	return NewWith(t, Settings{Box: config, Policy: schoolPolicy})
}

// NewWith is New with another box.
func NewWith(t testing.TB, s Settings) *Lab {
	t.Helper()
	need(t)
	removeStale(t)
	caretaker(t)
	l := &Lab{t: t, Authority: newAuthority(t)}
	l.Internet = &internet{namespace: newNamespace(t, "inet")}
	gw := newNamespace(t, "gw")
	l.wan(gw)
	l.Pupil = l.network(gw, "pupils", "2")
	l.Staff = l.network(gw, "staff", "3")
	l.Guest = l.network(gw, "guests", "4")
	l.IT = l.network(gw, "it", "9")
	l.Internet.start(l.Authority)
	l.Gateway = newGateway(l, gw, s)
	if s.Prepare != nil {
		s.Prepare(l.Gateway)
	}
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

// caretaker removes the namespaces of a test that is killed: it waits until our end
// of a pipe is closed, by us or by the kernel. Programs in them end by themselves
// (see daemon).
func caretaker(t testing.TB) {
	t.Helper()
	cmd := exec.Command("sh", "-c", `read -r _
		for n in /run/netns/sglab"$0"-*; do
			[ -e "$n" ] || continue
			ip netns del "${n##*/}"
			rm -rf "/etc/netns/${n##*/}"
		done`, strconv.Itoa(os.Getpid()))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // what is sent to our group is not for it
	us, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(us.Close(), cmd.Wait()); err != nil {
			t.Errorf("caretaker: %v", err)
		}
	})
}

// removeStale removes what a killed lab left behind, had its caretaker been killed
// too.
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

// device is a further device on the cable of h, with addresses of its own: "8" is
// 10.77.2.8 and 2001:db8:7002::8 where h is 10.77.2.7 and 2001:db8:7002::7. What is on
// record of one device says nothing of the others.
func (l *Lab) device(h *Host, four, six string) *Host {
	l.t.Helper()
	d := *h
	d.IPv4, d.IPv6 = strings.TrimSuffix(h.IPv4, "7")+four, strings.TrimSuffix(h.IPv6, "7")+six
	d.further = true
	ip(l.t, "-n "+d.name+" addr add "+d.IPv4+"/32 dev eth0")
	ip(l.t, "-n "+d.name+" addr add "+d.IPv6+"/128 dev eth0 nodad preferred_lft 0") // nobody's but its own choice
	return &d
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
