package blocklists

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"schoolgate/internal/testkit"
)

// whatIsHeld checks what must hold after any fault: the copy is one of the two
// lists in full, and the next update succeeds and leaves nothing over.
func whatIsHeld(t *testing.T, c *Cache, from *Fetcher, f Feed, old, new string) {
	t.Helper()
	if _, err := c.State(&f); err != nil {
		t.Fatalf("the state cannot be read: %v", err)
	}
	if got := readCopy(t, c, &f); got != old && got != new {
		t.Fatalf("the copy is neither the old list nor the new one: %d bytes", len(got))
	}
	if got := update(t, c, from, UpdateOptions{}, f); got.Err != nil {
		t.Fatalf("the next update: %v", got.Err)
	}
	if got := readCopy(t, c, &f); got != new {
		t.Fatal("the next update did not take the new list")
	}
	if err := c.Sweep([]Feed{f}, func(string, string) bool { return false }); err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(filepath.Join(c.folder(f.Name), "*"))
	if err != nil || len(left) != 2 {
		t.Errorf("after a sweep there is %v, want the copy and the state (%v)", left, err)
	}
}

var errInjected = errors.New("injected: no space left on device")

// The disk may fail at any step of an update.
func TestAFailingDiskLeavesTheLastGoodCopy(t *testing.T) {
	server := testkit.Feeds(t)
	from, old, new := testFetcher(t, server), testkit.GoodList(100), testkit.GoodList(110)
	for n := 0; ; n++ {
		c, f := testCache(t), remoteFeed("list", server.URL+"/list")
		server.Set("list", old)
		update(t, c, from, UpdateOptions{}, f)
		server.Set("list", new)
		steps, sound := 0, c.step
		c.step = func(string) error {
			if steps++; steps == n+1 {
				return errInjected
			}
			return nil
		}
		got := update(t, c, from, UpdateOptions{}, f)
		if steps <= n { // every step has failed once
			if n < 10 {
				t.Errorf("an update has only %d steps", n)
			}
			return
		}
		if !errors.Is(got.Err, errInjected) {
			t.Errorf("step %d failed and Update says %v", n, got.Err)
		}
		c.step = sound
		whatIsHeld(t, c, from, f, old, new)
	}
}

// A process may be killed at any step: this test runs itself as a process that
// kills itself there.
func TestAKilledUpdateLeavesAWorkingCopy(t *testing.T) {
	if at := os.Getenv("KILL_AT"); at != "" {
		killedUpdate(t, at)
		return
	}
	server := testkit.Feeds(t)
	from, old, new := testFetcher(t, server), testkit.GoodList(100), testkit.GoodList(110)
	file := filepath.Join(t.TempDir(), "list")
	if err := os.WriteFile(file, []byte(new), 0o600); err != nil {
		t.Fatal(err)
	}
	for n := 0; ; n++ {
		c, f := testCache(t), remoteFeed("list", server.URL+"/list")
		server.Set("list", old)
		update(t, c, from, UpdateOptions{}, f)
		server.Set("list", new)
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
		cmd.Env = append(os.Environ(), "KILL_AT="+strconv.Itoa(n), "KILL_DIR="+c.dir, "KILL_FILE="+file)
		err := cmd.Run()
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			if s, ok := exit.Sys().(syscall.WaitStatus); !ok || s.Signal() != syscall.SIGKILL {
				t.Fatalf("the process ended with %v", err)
			}
		} else if err != nil {
			t.Fatal(err)
		}
		whatIsHeld(t, c, from, f, old, new)
		if exit == nil { // it lived to the end
			if n < 8 {
				t.Errorf("an import has only %d steps", n)
			}
			return
		}
	}
}

func killedUpdate(t *testing.T, at string) {
	n, err := strconv.Atoi(at)
	if err != nil {
		t.Fatal(err)
	}
	c, err := OpenCache(os.Getenv("KILL_DIR"))
	if err != nil {
		t.Fatal(err)
	}
	steps := 0
	c.step = func(string) error {
		if steps++; steps == n+1 {
			return syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}
		return nil
	}
	f := remoteFeed("list", "https://feeds.example/list")
	if got := c.Import(t.Context(), &f, os.Getenv("KILL_FILE"), UpdateOptions{}); got.Err != nil {
		t.Fatal(got.Err)
	}
}

func TestADamagedStateIsFetchedAnew(t *testing.T) {
	server, c := testkit.Feeds(t), testCache(t)
	from, f := testFetcher(t, server), remoteFeed("list", server.URL+"/list")
	server.Set("list", testkit.GoodList(100))
	for _, harm := range []struct {
		name string
		do   func() error
	}{
		{"a state that is no JSON", func() error {
			return os.WriteFile(filepath.Join(c.folder("list"), stateName), []byte("{"), 0o600)
		}},
		{"a state that leads elsewhere", func() error {
			return os.WriteFile(filepath.Join(c.folder("list"), stateName), []byte(`{"good":{"sha256":"../../secret"}}`), 0o600)
		}},
		{"a copy cut short", func() error {
			copies, err := filepath.Glob(filepath.Join(c.folder("list"), "*"+copyEnd))
			return errors.Join(err, os.Truncate(copies[0], 10))
		}},
	} {
		update(t, c, from, UpdateOptions{}, f)
		if err := harm.do(); err != nil {
			t.Fatal(err)
		}
		if _, err := c.State(&f); err == nil {
			t.Errorf("%s: not seen", harm.name)
		}
		if got := update(t, c, from, UpdateOptions{}, f); got.Err != nil || readCopy(t, c, &f) != testkit.GoodList(100) {
			t.Errorf("%s: not mended: %v", harm.name, got.Err)
		}
	}
}

func TestOneFetchAtATime(t *testing.T) {
	c := testCache(t)
	unlock, err := c.Lock()
	if err != nil {
		t.Fatal(err)
	}
	other, err := OpenCache(c.dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Lock(); !errors.Is(err, ErrBusy) {
		t.Errorf("Lock = %v, want %v", err, ErrBusy)
	}
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
	if unlock, err = other.Lock(); err != nil {
		t.Fatal(err)
	}
	if err := unlock(); err != nil {
		t.Error(err)
	}
}

// A schedule spreads looks, backs off, and heeds a publisher within bounds.
func TestSchedule(t *testing.T) {
	now := time.Now()
	f := remoteFeed("list", "https://feeds.example/list")
	good := State{URL: f.Remote.URL, Tried: now}
	tried := func(failures int, after time.Duration) State {
		s := State{URL: f.Remote.URL, Tried: now, Failures: failures}
		if after > 0 {
			s.After = now.Add(after)
		}
		return s
	}
	mandatory := f
	mandatory.Kind = Mandatory
	for _, c := range []struct {
		name        string
		feed        Feed
		state       State
		least, most time.Duration
	}{
		{"never asked", f, State{}, 0, firstLook},
		{"asked at another address", f, State{URL: "https://old.example/", Tried: now}, 0, firstLook},
		{"clock set back (F12)", f, State{URL: f.Remote.URL, Tried: now.Add(100 * 24 * time.Hour)}, 0, firstLook},
		{"public", f, good, 21*time.Hour + 30*time.Minute, 26*time.Hour + 30*time.Minute},
		{"mandatory, twice a day (I2)", mandatory, good, 10*time.Hour + 45*time.Minute, 13*time.Hour + 15*time.Minute},
		{"failed once", f, tried(1, 0), leastRetry, time.Minute},
		{"failed twice", f, tried(2, 0), leastRetry, 2 * time.Minute},
		{"failed for days", f, tried(1000, 0), leastRetry, time.Hour},
		{"told to wait", f, tried(1, 3*time.Hour), 3 * time.Hour, 3 * time.Hour},
		{"told to wait for ever", f, tried(1, 1000*time.Hour), leastRetry, time.Minute},
	} {
		var all []time.Duration
		for range 200 {
			all = append(all, NewSchedule(now).Next(&c.feed, c.state, now).Sub(now))
		}
		if least, most := slices.Min(all), slices.Max(all); least < c.least || most > c.most {
			t.Errorf("%s: %s to %s, want within %s to %s", c.name, least, most, c.least, c.most)
		}
		if c.least != c.most && slices.Max(all)-slices.Min(all) < (c.most-c.least)/2 {
			t.Errorf("%s: all boxes ask at the same time: %s to %s", c.name, slices.Min(all), slices.Max(all))
		}
	}
}
