package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// namespace is a network of its own on this machine.
type namespace struct {
	t    testing.TB
	name string
}

// newNamespace makes one, gone with the test.
func newNamespace(t testing.TB, name string) *namespace {
	t.Helper()
	n := &namespace{t: t, name: fmt.Sprintf("sglab%d-%s", os.Getpid(), name)}
	ip(t, "netns add "+n.name)
	t.Cleanup(func() { ip(t, "netns del "+n.name) })
	ip(t, "-n "+n.name+" link set lo up")
	return n
}

// do runs f inside the namespace. Sockets made there belong to it for as long as
// they are open, whoever uses them. The thread is never unlocked, so it ends with
// f instead of going back among those that work outside.
func (n *namespace) do(f func()) {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		err := n.enter()
		if err == nil {
			f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		n.t.Errorf("%s: %v", n.name, err)
	}
}

func (n *namespace) enter() error {
	file, err := os.Open("/run/netns/" + n.name)
	if err != nil {
		return err
	}
	return errors.Join(unix.Setns(int(file.Fd()), unix.CLONE_NEWNET), file.Close())
}

// command runs a program inside the namespace.
func (n *namespace) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", n.name, name}, args...)...)
}

// daemon starts a program that the kernel ends with us, however we end; ended gets
// what became of it. A program that takes other privileges must ask for that anew
// (endsWithUs).
func daemon(cmd *exec.Cmd) (ended chan error, err error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	ended = make(chan error, 1)
	began := make(chan error)
	go func() {
		runtime.LockOSThread() // the kernel means the thread that started it when it says parent
		err := cmd.Start()
		began <- err
		if err == nil {
			ended <- cmd.Wait()
		}
	}()
	return ended, <-began
}

// run runs a program that must end well.
func (n *namespace) run(name string, args ...string) string {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	out, err := n.command(ctx, name, args...).CombinedOutput()
	if err != nil {
		n.t.Fatalf("%s: %s %s: %v\n%s", n.name, name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// addresses gives an interface its addresses and takes it up. IPv6 addresses are
// used at once: nobody else can have them.
func (n *namespace) addresses(device string, list ...string) {
	n.t.Helper()
	for _, a := range list {
		if strings.Contains(a, ":") {
			a += " nodad"
		}
		ip(n.t, fmt.Sprintf("-n %s addr add %s dev %s", n.name, a, device))
	}
	ip(n.t, fmt.Sprintf("-n %s link set %s up", n.name, device))
}

func (n *namespace) listen(network, addr string) net.Listener {
	n.t.Helper()
	var l net.Listener
	var err error
	n.do(func() { l, err = net.Listen(network, addr) })
	if err != nil {
		n.t.Fatal(err)
	}
	return l
}

func (n *namespace) listenPacket(network, addr string) net.PacketConn {
	n.t.Helper()
	var c net.PacketConn
	var err error
	n.do(func() { c, err = net.ListenPacket(network, addr) })
	if err != nil {
		n.t.Fatal(err)
	}
	return c
}

// join connects two namespaces by a cable.
func join(t testing.TB, a *namespace, aDevice string, b *namespace, bDevice string) {
	t.Helper()
	ip(t, fmt.Sprintf("link add %s netns %s type veth peer name %s netns %s", aDevice, a.name, bDevice, b.name))
}

// ip runs ip(8), which must end well.
func ip(t testing.TB, args string) {
	t.Helper()
	if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s", args, err, out)
	}
}
