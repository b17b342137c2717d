package lab

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

var fenced = regexp.MustCompile("(?s)```(yaml|sh gateway|sh pupil)\n(.*?)```")

// The install guide is run: its configuration makes rules, and its first checks
// say in the lab what it says they say.
func TestInstallGuide(t *testing.T) {
	l := New(t)
	guide, err := os.ReadFile(l.Gateway.repository("deploy/README.md"))
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	for _, block := range fenced.FindAllStringSubmatch(string(guide), -1) {
		if block[1] == "yaml" {
			ran++
			l.Gateway.write("guide.yaml", block[2])
			out, err := l.Gateway.command(t.Context(), l.Gateway.binary, "firewall", "show", "--config", filepath.Join(l.Gateway.Dir, "guide.yaml")).CombinedOutput()
			if err != nil || !strings.Contains(string(out), `comment "Y1 pupils`) {
				t.Errorf("the guide's configuration: %v\n%s", err, out)
			}
			continue
		}
		on := l.Gateway.namespace
		if block[1] == "sh pupil" {
			on = l.Pupil.namespace
			needTools(t, "dig", "curl")
			nameServer(t, on, l.Pupil.Router4)
		}
		for line := range strings.Lines(block[2]) {
			ran++
			l.guideLine(t, on, strings.TrimSpace(line))
		}
	}
	if ran < 12 {
		t.Errorf("ran %d pieces of the guide, want all of them", ran)
	}
}

func (l *Lab) guideLine(t *testing.T, on *namespace, line string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := on.command(ctx, "bash", "-c", line)
	cmd.Env = append(os.Environ(), "SCHOOLGATE_CONFIG="+l.Gateway.Config, "PATH="+l.Gateway.Dir+":"+os.Getenv("PATH"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%s: %v\n%s", line, err, out)
	}
}

func needTools(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("SKIPPED: this needs %s (deploy/test-deps installs it)", name)
		}
	}
}

// nameServer is the resolv.conf that ip netns exec puts in place.
func nameServer(t *testing.T, n *namespace, addr string) {
	t.Helper()
	dir := "/etc/netns/" + n.name
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.WriteFile(filepath.Join(dir, "resolv.conf"), []byte("nameserver "+addr+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}

// The units are what systemd can read, but for the binary, which is not installed, and
// keep from each process what it need not do (T23: an exposure of at most 3.0; 3.5 for
// the one command of early boot, when there is nothing yet to be kept from).
func TestUnits(t *testing.T) {
	needTools(t, "systemd-analyze", "go")
	root, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		t.Fatal(err)
	}
	units, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(root)), "deploy/systemd/*.service"))
	if err != nil || len(units) != 3 {
		t.Fatalf("units %v, %v, want three", units, err)
	}
	out, _ := exec.Command("systemd-analyze", append([]string{"verify", "--man=no"}, units...)...).CombinedOutput() // its exit code counts the binary
	for line := range strings.Lines(string(out)) {
		if !strings.Contains(line, "/usr/bin/schoolgate is not executable") {
			t.Errorf("systemd-analyze verify: %s", line)
		}
	}
	for _, unit := range units {
		most := "30"
		if filepath.Base(unit) == "schoolgate-closed.service" {
			most = "35"
		}
		if out, err := exec.Command("systemd-analyze", "security", "--offline=yes", "--threshold="+most, unit).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", filepath.Base(unit), err, out)
		}
	}
}
