package clients

import (
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func peopleIn(t *testing.T, file string, people ...Person) {
	t.Helper()
	all := People{}
	for _, p := range people {
		if err := p.SetPassword("right password of " + p.Name); err != nil {
			t.Fatal(err)
		}
		all[p.Name] = p
	}
	if err := all.Write(file); err != nil {
		t.Fatal(err)
	}
}

func newSignIn(t *testing.T, file string) *SignIn {
	t.Helper()
	s, err := NewSignIn(file, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var tablet, otherTablet = netip.MustParseAddr("10.2.0.7"), netip.MustParseAddr("10.2.0.8")

// TestSignIn: who gives the right password is let in, and nobody else.
func TestSignIn(t *testing.T) {
	file := filepath.Join(t.TempDir(), "people")
	peopleIn(t, file, Person{Name: "j.smith", Group: "office"}, Person{Name: "gone", Group: "office", Until: time.Now().Add(-time.Hour)})
	s := newSignIn(t, file)
	for _, c := range []struct {
		promise, name, password string
		want                    bool
	}{
		{"right", "j.smith", "right password of j.smith", true},
		{"right, remembered", "j.smith", "right password of j.smith", true},
		{"wrong", "j.smith", "wrong password", false},
		{"another's", "j.smith", "right password of gone", false},
		{"past the last day", "gone", "right password of gone", false},
		{"nobody", "nobody", "right password of j.smith", false},
		{"no name", "", "right password of j.smith", false},
		{"in other letters", "J.Smith", "right password of j.smith", false},
		{"a long one", "j.smith", strings.Repeat("x", 10000), false},
	} {
		if got := s.Check(c.name, c.password, tablet); got != c.want {
			t.Errorf("%s: Check = %t, want %t", c.promise, got, c.want)
		}
	}
	if g, ok := s.Group("j.smith"); g != "office" || !ok {
		t.Errorf("Group = %q, %t", g, ok)
	}
	if _, ok := s.Group("gone"); ok {
		t.Error("somebody past the last day has a group")
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, %v", info.Mode(), err)
	}
}

// TestSignInChanges: a new password, a removal and a broken file are taken up within
// a second; the broken one leaves the people of before.
func TestSignInChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "people")
		peopleIn(t, file, Person{Name: "a", Group: "office"}, Person{Name: "b", Group: "office"})
		s := newSignIn(t, file)
		step := 0
		check := func(promise, name string, want bool) {
			t.Helper()
			step++
			if err := os.Chtimes(file, time.Time{}, time.Unix(int64(step), 0)); err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Second)
			if got := s.Check(name, "right password of "+name, tablet); got != want {
				t.Errorf("%s: Check = %t, want %t", promise, got, want)
			}
		}
		check("as it is", "a", true)
		peopleIn(t, file, Person{Name: "b", Group: "office"})
		check("removed", "a", false)
		check("still there", "b", true)
		if err := os.WriteFile(file, []byte("broken\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		check("broken file", "b", true)
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		check("no file", "b", false)
	})
}

// TestSignInBroken: a file that cannot be read lets nobody in, and does not stop the box.
func TestSignInBroken(t *testing.T) {
	file := filepath.Join(t.TempDir(), "people")
	if err := os.WriteFile(file, []byte("broken\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if s := newSignIn(t, file); s.Check("a", "right password of a", tablet) {
		t.Error("somebody was let in")
	}
}

// TestLock: who guesses is locked out for a while, by name and address; the person
// who has signed in goes on.
func TestLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "people")
		peopleIn(t, file, Person{Name: "teacher", Group: "office"}, Person{Name: "other", Group: "office"})
		s := newSignIn(t, file)
		right := func(name string, from netip.Addr) bool { return s.Check(name, "right password of "+name, from) }
		if !right("teacher", otherTablet) {
			t.Fatal("the teacher cannot sign in")
		}
		for i := range locksOneFrom {
			s.Check("other", fmt.Sprint("guess number ", i), tablet)
		}
		if right("other", tablet) {
			t.Error("after ten guesses the eleventh was looked at")
		}
		if !right("other", otherTablet) {
			t.Error("guesses of one device lock the person out of another")
		}
		if !right("teacher", tablet) {
			t.Error("guesses for one name lock out another that was remembered")
		}
		time.Sleep(lockFor + time.Second)
		if !right("other", tablet) {
			t.Error("locked out for ever")
		}
	})
}

// TestLockHolds: who is locked out learns nothing more, neither from what the box
// remembers of others nor by asking many times at once.
func TestLockHolds(t *testing.T) {
	file := filepath.Join(t.TempDir(), "people")
	peopleIn(t, file, Person{Name: "teacher", Group: "office"}, Person{Name: "other", Group: "office"})
	s := newSignIn(t, file)
	if !s.Check("teacher", "right password of teacher", otherTablet) {
		t.Fatal("the teacher cannot sign in")
	}
	var guessing sync.WaitGroup
	for i := range 40 {
		guessing.Go(func() { s.Check("teacher", fmt.Sprint("guess number ", i), tablet) })
	}
	guessing.Wait()
	if n := s.failures[oneFrom("teacher", tablet)].times; n > locksOneFrom+2 {
		t.Errorf("%d guesses at once were looked at, want %d", n, locksOneFrom)
	}
	if s.Check("teacher", "right password of teacher", tablet) {
		t.Error("who is locked out learns the password of somebody who has signed in")
	}
	if !s.Check("teacher", "right password of teacher", otherTablet) {
		t.Error("the teacher is locked out of the own device")
	}
}

// TestPasswordChangedMeanwhile: a password that was being looked at when the file
// changed is not remembered.
func TestPasswordChangedMeanwhile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "people")
	peopleIn(t, file, Person{Name: "a", Group: "office"})
	s := newSignIn(t, file)
	p := Person{Name: "a", Group: "office"}
	if err := p.SetPassword("another password of a"); err != nil {
		t.Fatal(err)
	}
	after := People{"a": p}
	s.slots <- struct{}{} // one place is left for the hash, and the test knows when it is taken
	done := make(chan bool)
	go func() { done <- s.Check("a", "right password of a", tablet) }()
	for len(s.slots) < 2 {
		runtime.Gosched()
	}
	s.people.Store(&after) // as read does
	s.mu.Lock()
	clear(s.known)
	s.mu.Unlock()
	if <-done || s.Check("a", "right password of a", tablet) {
		t.Error("the old password is still good")
	}
}

// TestReadPeople: a file that cannot be read right is read not at all.
func TestReadPeople(t *testing.T) {
	var p Person
	if err := p.SetPassword("short"); err == nil {
		t.Error("a password of five letters was taken")
	}
	if err := p.SetPassword("long enough"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ text, want string }{
		{"a:office::" + p.hash, ""},
		{"# words\n\na:office:2027-07-31:" + p.hash, ""},
		{"a:office:" + p.hash, "want name:group:until:hash"},
		{"a:office::secret", "bad hash"},
		{"a b:office::" + p.hash, "bad name"},
		{":office::" + p.hash, "bad name"},
		{"a:office:31/7/2027:" + p.hash, "bad last day"},
		{"a:office::" + p.hash + "\na:staff::" + p.hash, "there twice"},
		{"a:office::" + strings.Replace(p.hash, "m=19456", "m=8", 1), "bad hash"},
	} {
		file := filepath.Join(t.TempDir(), "people")
		if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		all, err := ReadPeople(file)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, %v, want %q", c.text, all, err, c.want)
		}
	}
}

// FuzzPerson: a line is read as it is written again, or not at all.
func FuzzPerson(f *testing.F) {
	f.Add("a:office:2027-07-31:$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
	f.Fuzz(func(t *testing.T, line string) {
		p, err := parsePerson(line)
		if err != nil {
			return
		}
		if again := fmt.Sprintf("%s:%s:%s:%s", p.Name, p.Group, p.LastDay(), p.hash); again != line {
			t.Fatalf("%q is written %q", line, again)
		}
	})
}

func BenchmarkSignInRemembered(b *testing.B) {
	file := filepath.Join(b.TempDir(), "people")
	var p Person
	if err := p.SetPassword("right password"); err != nil {
		b.Fatal(err)
	}
	p.Name, p.Group = "a", "office"
	if err := (People{"a": p}).Write(file); err != nil {
		b.Fatal(err)
	}
	s, err := NewSignIn(file, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if !s.Check("a", "right password", tablet) {
			b.Fatal("not let in")
		}
	}
}
