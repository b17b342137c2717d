package main

import (
	"net"
	"path/filepath"
	"testing"
	"time"

	"schoolgate/internal/testkit"
)

// DESIGN, "When things fail": systemd hears when the doors are open, again and
// again that they answer, nothing while the process hangs, and that it stops.
func TestSystemdHearsThatTheDoorsAnswer(t *testing.T) {
	t.Parallel()
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: filepath.Join(t.TempDir(), "notify")})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	b := testkit.NewBox(t, testkit.BoxOptions{Env: []string{"NOTIFY_SOCKET=" + socket.LocalAddr().String(), "WATCHDOG_USEC=1000000"}})
	b.Start()
	heard := func(within time.Duration) string {
		if err := socket.SetReadDeadline(time.Now().Add(within)); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 256)
		n, err := socket.Read(buf)
		if err != nil {
			return err.Error()
		}
		return string(buf[:n])
	}
	const long = 30 * time.Second
	for _, want := range []string{"READY=1", "WATCHDOG=1", "WATCHDOG=1"} {
		if got := heard(long); got != want {
			t.Fatalf("systemd hears %q, want %q", got, want)
		}
	}
	b.Stop()
	for got := heard(long); got != "STOPPING=1"; got = heard(long) {
		if got != "WATCHDOG=1" {
			t.Fatalf("at the end systemd hears %q, want STOPPING=1", got)
		}
	}
}
