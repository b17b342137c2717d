package firewall

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

// nftTime bounds one run of nft(8); the largest table takes well under a second.
const nftTime = 30 * time.Second

// Difference is how the kernel's rules and settings differ from what they should be.
type Difference struct {
	Absent  bool     // our table is not there at all
	Missing []string // what should be there, each with its place
	Foreign []string // what is there and should not be
	Order   []string // chains that have all their rules, in another order
	Sysctls []string // settings of the kernel
}

// None reports whether all is as it should be.
func (d Difference) None() bool {
	return !d.Absent && len(d.Missing)+len(d.Foreign)+len(d.Order)+len(d.Sysctls) == 0
}

// String is a line for each difference.
func (d Difference) String() string {
	var b strings.Builder
	if d.Absent {
		fmt.Fprintf(&b, "absent: table inet %s\n", table)
	}
	for _, part := range []struct {
		what  string
		lines []string
	}{{"missing", d.Missing}, {"foreign", d.Foreign}, {"order", d.Order}, {"setting", d.Sysctls}} {
		for _, line := range part.lines {
			fmt.Fprintf(&b, "%s: %s\n", part.what, line)
		}
	}
	return b.String()
}

// Check compares the kernel's rules with what they should be. It needs root: both
// are listed by nft(8), ours from a network namespace that lives only for that, so
// that the one way of writing a rule is nft's own.
func (r *Rules) Check(ctx context.Context) (Difference, error) {
	var d Difference
	for _, s := range r.sysctls {
		text, err := s.differs()
		if err != nil {
			return d, err
		}
		if text != "" {
			d.Sysctls = append(d.Sysctls, text)
		}
	}
	want, err := r.listed(ctx)
	if err != nil {
		return d, err
	}
	have, err := nft(ctx, "", "-s", "list", "table", "inet", table)
	if absent := (absentError{}); errors.As(err, &absent) {
		d.Absent = true
		return d, nil
	}
	if err != nil {
		return d, err
	}
	compare(&d, want, have)
	return d, nil
}

// Apply makes the kernel's rules and settings what they should be, and says what
// it found different. Nothing is touched if there was nothing. The table is
// replaced in one transaction; forwarding is allowed only after it, and forbidden
// before it.
func (r *Rules) Apply(ctx context.Context) (Difference, error) {
	d, err := r.Check(ctx)
	if err != nil || d.None() {
		return d, err
	}
	if err := r.setSysctls(func(s Sysctl) bool { return s.Value == "0" }); err != nil {
		return d, err
	}
	if _, err := nft(ctx, r.file, "-f", "-"); err != nil {
		return d, err
	}
	return d, r.setSysctls(func(s Sysctl) bool { return s.Value != "0" })
}

func (r *Rules) setSysctls(which func(Sysctl) bool) error {
	for _, s := range r.sysctls {
		if !which(s) {
			continue
		}
		if err := s.set(); err != nil {
			return err
		}
	}
	return nil
}

// Syntax has nft(8) read the rules without loading them.
func (r *Rules) Syntax(ctx context.Context) error {
	return apart(func() error {
		_, err := nft(ctx, r.file, "-c", "-f", "-")
		return err
	})
}

// listed is our file as nft lists it once it is loaded.
func (r *Rules) listed(ctx context.Context) (text string, err error) {
	err = apart(func() error {
		if _, err := nft(ctx, r.file, "-f", "-"); err != nil {
			return err
		}
		text, err = nft(ctx, "", "-s", "list", "table", "inet", table)
		return err
	})
	return text, err
}

// apart runs f, and what it starts, in a network namespace of its own that nothing
// is in. The thread is never given back, so the namespace ends with it.
func apart(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if err := newNamespace(); err != nil {
			done <- fmt.Errorf("rules are compared as root only: %w", err)
			return
		}
		done <- f()
	}()
	return <-done
}

// absentError is nft's answer about a table that is not there.
type absentError struct{ error }

// nft runs nft(8). The error is what it said.
func nft(ctx context.Context, stdin string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, nftTime)
	defer cancel()
	path, err := exec.LookPath("nft")
	if err != nil {
		path = "/usr/sbin/nft" // not on every user's PATH
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stdin = strings.NewReader(stdin)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	var out, trouble bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &trouble
	err = cmd.Run()
	switch {
	case err == nil:
		return out.String(), nil
	case errors.Is(err, os.ErrNotExist):
		return "", errors.New("nft(8) is not here (install the package nftables)")
	case strings.Contains(trouble.String(), "No such file or directory") && (args[0] == "-s" || args[len(args)-1] == triesTable || args[len(args)-1] == cutOffTable):
		return "", absentError{errors.New("there is no such table")}
	}
	return "", fmt.Errorf("nft %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(trouble.String()))
}
