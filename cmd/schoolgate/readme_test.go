package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"schoolgate/internal/testkit"
)

// block is a console block of a README: commands and what they print.
type block struct {
	line       int
	background bool // runs until the end of the document
	eventually bool // repeated until it prints what is said
	steps      []step
}

// step is one command. In its output ... alone on a line stands for any lines,
// and within a line for any text.
type step struct {
	line    int
	command string
	want    []string
}

// parseReadme finds the console blocks of a document. A block under an HTML comment
// that says background is started and left running; one under eventually is about
// something that takes a moment.
func parseReadme(text string) (blocks []block, err error) {
	var open *block
	before := ""
	for i, line := range strings.Split(text, "\n") {
		switch command, isCommand := strings.CutPrefix(line, "$ "); {
		case open == nil && line == "```console":
			open = &block{line: i + 1, background: before == "<!-- background -->", eventually: before == "<!-- eventually -->"}
		case open == nil:
			if line != "" {
				before = line
			}
		case line == "```":
			if len(open.steps) == 0 {
				return nil, fmt.Errorf("line %d: a console block without a command", open.line)
			}
			blocks, open, before = append(blocks, *open), nil, ""
		case isCommand:
			open.steps = append(open.steps, step{line: i + 1, command: command})
		case len(open.steps) == 0:
			return nil, fmt.Errorf("line %d: output before the first command", i+1)
		default:
			last := &open.steps[len(open.steps)-1]
			if strings.HasSuffix(last.command, "\\") && len(last.want) == 0 { // a command over several lines
				last.command += "\n" + strings.TrimPrefix(line, "> ")
			} else {
				last.want = append(last.want, line)
			}
		}
	}
	if open != nil {
		return nil, fmt.Errorf("line %d: a console block without an end", open.line)
	}
	return blocks, nil
}

// pattern is the expected output as a regular expression over whole lines, from
// the beginning.
func pattern(want []string) string {
	var p strings.Builder
	p.WriteString(`\A`)
	for _, line := range want {
		if strings.TrimSpace(line) == "..." {
			p.WriteString(`(?:[^\n]*\n)*?`)
			continue
		}
		for i, part := range strings.Split(strings.TrimRight(line, " \t"), "...") {
			if i > 0 {
				p.WriteString(`[^\n]*`)
			}
			p.WriteString(regexp.QuoteMeta(part))
		}
		p.WriteString(`[ \t]*\n`)
	}
	return p.String()
}

// matches compares what a command printed with what the document says; blank lines
// at the end do not count.
func (s step) matches(output string) bool {
	return regexp.MustCompile(pattern(s.wanted()) + `\z`).MatchString(tidy(output))
}

// begun reports whether a command that is still running has printed what the
// document says; it may go on to say more.
func (s step) begun(output string) bool {
	return regexp.MustCompile(pattern(s.wanted())).MatchString(tidy(output))
}

func (s step) wanted() []string {
	want := s.want
	for len(want) > 0 && want[len(want)-1] == "" {
		want = want[:len(want)-1]
	}
	return want
}

func tidy(output string) string {
	output = strings.TrimRight(strings.ReplaceAll(output, "\r\n", "\n"), "\n")
	if output == "" {
		return ""
	}
	return output + "\n"
}

// stepTimeout bounds one command of a document; the first one builds.
const stepTimeout = 2 * time.Minute

// runReadme runs the blocks of a document in a folder, one after the other.
func runReadme(t *testing.T, dir string, blocks []block) {
	t.Helper()
	for _, b := range blocks {
		for _, s := range b.steps {
			if b.background {
				startStep(t, dir, s)
				continue
			}
			output := runStep(t, dir, s)
			for end := time.Now().Add(20 * time.Second); b.eventually && !s.matches(output) && time.Now().Before(end); {
				output = runStep(t, dir, s)
			}
			if !s.matches(output) {
				t.Errorf("line %d: $ %s prints\n%s\nand the document says\n%s", s.line, s.command, output, strings.Join(s.want, "\n"))
			}
		}
	}
}

// runStep gives what one command prints; how it ends is for what it prints to say.
func runStep(t *testing.T, dir string, s step) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), stepTimeout)
	defer cancel()
	output, err := shell(ctx, dir, s.command).CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && (!errors.As(err, &exit) || ctx.Err() != nil) {
		t.Fatalf("line %d: $ %s: %v\n%s", s.line, s.command, err, output)
	}
	return string(output)
}

// shell runs a command of a document as a person at a prompt would, in a group of
// processes that can be ended together.
func shell(ctx context.Context, dir, command string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "bash", "-c", command)
	cmd.Env = asATerminal(os.Environ())
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// startStep leaves a command running until the test ends, and returns once it has
// printed, on standard output, what the document says that it prints.
func startStep(t *testing.T, dir string, s step) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := shell(ctx, dir, s.command)
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) } // Ctrl-C
	cmd.WaitDelay = 30 * time.Second
	log, trouble := &testkit.Log{}, &testkit.Log{} // a first build says on standard error what it fetches
	cmd.Stdout, cmd.Stderr = log, trouble
	if err := cmd.Start(); err != nil {
		t.Fatalf("line %d: $ %s: %v", s.line, s.command, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		cancel()
		<-ended
		if t.Failed() {
			t.Logf("line %d: $ %s printed\n%s%s", s.line, s.command, log, trouble)
		}
	})
	deadline := time.After(stepTimeout)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !s.begun(log.String()) {
		select {
		case <-tick.C:
		case err := <-ended:
			ended <- err
			t.Fatalf("line %d: $ %s ended: %v", s.line, s.command, err)
		case <-deadline:
			t.Fatalf("line %d: $ %s does not print what the document says", s.line, s.command)
		}
	}
}

// The README is run: every command in it, in order, on a copy of the repository as
// a fresh checkout has it.
func TestReadme(t *testing.T) {
	root := filepath.Join("..", "..")
	text, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	blocks, err := parseReadme(string(text))
	if err != nil {
		t.Fatalf("README.md: %v", err)
	}
	if len(blocks) == 0 {
		t.Fatal("README.md has no console block")
	}
	for _, tool := range []string{"bash", "make", "git", "dig", "curl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("SKIPPED: the README is not tried out: %v (as root, make test installs it)", err)
		}
	}
	for _, port := range []string{"5300", "3128", "9300", "2525"} {
		l, err := net.Listen("tcp", "127.0.0.1:"+port)
		if err != nil {
			t.Fatalf("port %s of the README is taken on this machine; stop what listens there, such as a make run in another window: %v", port, err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	checkout(t, root, dir)
	runReadme(t, dir, blocks)
}

// checkout copies what git knows or would take up.
func checkout(t *testing.T, root, dir string) {
	t.Helper()
	list := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	list.Dir = root
	var trouble bytes.Buffer
	list.Stderr = &trouble
	names, err := list.Output()
	if err != nil {
		t.Fatalf("git ls-files: %v: %s", err, &trouble)
	}
	for name := range bytes.SplitSeq(bytes.TrimRight(names, "\x00"), []byte{0}) {
		if err := copyFile(filepath.Join(root, string(name)), filepath.Join(dir, string(name))); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err) // one that does not exist has been removed and not committed yet
		}
	}
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, info.Mode())
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// The runner itself, on a document of its own that holds every form.
func TestReadmeRunner(t *testing.T) {
	text, err := os.ReadFile("testdata/readme/good.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks, err := parseReadme(string(text))
	if err != nil {
		t.Fatal(err)
	}
	if len(blocks) != 5 || !blocks[0].background {
		t.Fatalf("%d blocks, the first in the background: %t; want 5, true", len(blocks), blocks[0].background)
	}
	runReadme(t, t.TempDir(), blocks)
}

func TestReadmeOutputIsCompared(t *testing.T) {
	tests := []struct {
		name, want, output string
		matches            bool
	}{
		{"the same", "a\nb", "a\nb\n", true},
		{"another line", "a\nb", "a\nc\n", false},
		{"a line less", "a\nb", "a\n", false},
		{"a line more", "a", "a\nb\n", false},
		{"nothing, as said", "", "", true},
		{"something unsaid", "", "a\n", false},
		{"any lines", "a\n...\nd", "a\nb\nc\nd\n", true},
		{"any lines, even none", "a\n...\nd", "a\nd\n", true},
		{"any lines and not the end", "a\n...\nd", "a\nb\n", false},
		{"any lines at the end", "a\n...", "a\nb\n", true},
		{"any text in a line", "id SG-... at ...:00", "id SG-1F at 10:00\n", true},
		{"any text, but of one line", "a...b", "a\nb\n", false},
		{"what looks like a pattern", "a.*(b)", "axx(b)\n", false},
		{"CRLF and blanks at the end", "a\nb", "a  \r\nb\r\n\r\n", true},
	}
	for _, tt := range tests {
		if got := (step{want: strings.Split(tt.want, "\n")}).matches(tt.output); got != tt.matches {
			t.Errorf("%s: matches(%q) by %q = %t, want %t", tt.name, tt.output, tt.want, got, tt.matches)
		}
	}
}

// asATerminal is the environment of a person's terminal: a make that runs the
// tests leaves no trace in it, or the reader's make would speak as its child.
func asATerminal(env []string) []string {
	return slices.DeleteFunc(env, func(v string) bool {
		return strings.HasPrefix(v, "MAKE") || strings.HasPrefix(v, "MFLAGS=")
	})
}
