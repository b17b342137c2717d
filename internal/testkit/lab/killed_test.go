package lab

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

const heldLab = "SCHOOLGATE_TEST_HOLD_LAB"

// A test that is killed leaves no process and no namespace: not the box, not the
// guard, not a program on a device.
func TestKilledLabLeavesNothing(t *testing.T) {
	need(t)
	if os.Getenv(heldLab) != "" {
		holdLab(t)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilledLabLeavesNothing$", "-test.v")
	cmd.Env = append(os.Environ(), heldLab+"=1")
	out, err := cmd.StdoutPipe()
	if err == nil {
		_, err = daemon(cmd)
	}
	if err != nil {
		t.Fatal(err)
	}
	dir, said := "", ""
	for lines := bufio.NewScanner(out); dir == "" && lines.Scan(); said += lines.Text() + "\n" {
		_, dir, _ = strings.Cut(lines.Text(), "held: ")
	}
	if dir == "" {
		t.Fatalf("no lab was made:\n%s", said)
	}
	mine := "sglab" + strconv.Itoa(cmd.Process.Pid) + "-"
	if n := len(left(t, dir, mine)); n < 9 { // six namespaces, the box, its guard and a device's program
		t.Errorf("%d things to leave, want nine and more: %v", n, left(t, dir, mine))
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(longTime); len(left(t, dir, mine)) > 0 && time.Now().Before(end); {
		time.Sleep(20 * time.Millisecond)
	}
	if list := left(t, dir, mine); len(list) > 0 {
		t.Errorf("left behind: %v", list)
	}
	if err := os.RemoveAll(filepath.Dir(dir)); err != nil { // what the testing package would have removed
		t.Error(err)
	}
}

// holdLab is the test that is killed.
func holdLab(t *testing.T) {
	l := New(t)
	l.Gateway.Guard()
	nameServer(t, l.Pupil.namespace, l.Pupil.Router4)
	if _, err := daemon(l.Pupil.command(t.Context(), "tail", "-f", l.Gateway.Config)); err != nil {
		t.Fatal(err)
	}
	fmt.Println("held:", l.Gateway.Dir)
	select {}
}

// left are the processes of a lab, by its folder or its namespaces, and the
// namespaces.
func left(t *testing.T, dir, namespaces string) (list []string) {
	t.Helper()
	for _, pattern := range []string{"/run/netns/" + namespaces + "*", "/etc/netns/" + namespaces + "*"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, found...)
	}
	commands, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range commands {
		text, err := os.ReadFile(name)
		if err == nil && strings.Contains(string(text), dir) { // it may have ended by now
			list = append(list, strings.ReplaceAll(string(text), "\x00", " "))
		}
	}
	return list
}
