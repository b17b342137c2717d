package audit

import (
	"bytes"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// simDisk is the real disk with two vices: it fails chosen calls, and it knows
// what a power cut would leave.
type simDisk struct {
	osDisk
	mu    sync.Mutex
	calls int
	fail  func(call int, op string) error // nil for a call that works
	dead  bool                            // the power is out: nothing works any more

	files   map[string]*simContent            // by path now
	durable map[string]map[string]*simContent // by directory, as last synced, by path
}

// simContent is what the platters have of a file, and the writes they may not have.
type simContent struct {
	synced []byte
	later  []simWrite
}

type simWrite struct {
	off  int64 // -1 for a truncation to len(data)
	size int64
	data []byte
}

func newSimDisk() *simDisk {
	return &simDisk{
		fail:  func(int, string) error { return nil },
		files: map[string]*simContent{}, durable: map[string]map[string]*simContent{},
	}
}

// call counts a call and says how it fails. The lock is held after it.
func (d *simDisk) call(op string) error {
	d.mu.Lock()
	d.calls++
	if d.dead {
		return syscall.EIO
	}
	return d.fail(d.calls, op)
}

func (d *simDisk) Create(name string) (file, error) {
	defer d.mu.Unlock()
	if err := d.call("create"); err != nil {
		return nil, err
	}
	f, err := d.osDisk.Create(name)
	d.files[name] = &simContent{}
	return &simFile{f, d, d.files[name]}, err
}

func (d *simDisk) Modify(name string) (file, error) {
	defer d.mu.Unlock()
	if err := d.call("modify"); err != nil {
		return nil, err
	}
	f, err := d.osDisk.Modify(name)
	if d.files[name] == nil {
		d.files[name] = &simContent{}
	}
	return &simFile{f, d, d.files[name]}, err
}

func (d *simDisk) Rename(from, to string) error {
	defer d.mu.Unlock()
	if err := d.call("rename"); err != nil {
		return err
	}
	d.files[to] = d.files[from]
	delete(d.files, from)
	return d.osDisk.Rename(from, to)
}

func (d *simDisk) Remove(name string) error {
	if _, err := os.Stat(name); err != nil {
		return err
	}
	defer d.mu.Unlock()
	if err := d.call("remove"); err != nil {
		return err
	}
	delete(d.files, name)
	return d.osDisk.Remove(name)
}

func (d *simDisk) SyncDir(dir string) error {
	defer d.mu.Unlock()
	if err := d.call("syncdir"); err != nil {
		return err
	}
	now := map[string]*simContent{}
	for name, c := range d.files {
		if filepath.Dir(name) == dir {
			now[name] = c
		}
	}
	d.durable[dir] = now
	return nil
}

type simFile struct {
	f file
	d *simDisk
	c *simContent
}

// WriteAt fails as disks do: with a part of the data written.
func (f *simFile) WriteAt(p []byte, off int64) (int, error) {
	defer f.d.mu.Unlock()
	err := f.d.call("write")
	if err != nil {
		p = p[:len(p)/2]
	}
	if !f.d.dead {
		if n, err := f.f.WriteAt(p, off); err != nil {
			return n, err
		}
		f.c.later = append(f.c.later, simWrite{off: off, data: bytes.Clone(p)})
	}
	return len(p), err
}

func (f *simFile) Truncate(size int64) error {
	defer f.d.mu.Unlock()
	if err := f.d.call("truncate"); err != nil {
		return err
	}
	f.c.later = append(f.c.later, simWrite{off: -1, size: size})
	return f.f.Truncate(size)
}

func (f *simFile) Sync() error {
	defer f.d.mu.Unlock()
	if err := f.d.call("sync"); err != nil {
		return err
	}
	for _, w := range f.c.later {
		f.c.synced = w.apply(f.c.synced)
	}
	f.c.later = nil
	return nil
}

func (f *simFile) Close() error { return f.f.Close() }

func (w simWrite) apply(b []byte) []byte {
	if w.off < 0 {
		return append(b, make([]byte, max(0, int(w.size)-len(b)))...)[:w.size]
	}
	if end := int(w.off) + len(w.data); end > len(b) {
		b = append(b, make([]byte, end-len(b))...)
	}
	copy(b[w.off:], w.data)
	return b
}

// cut takes the power away. Nothing after it works.
func (d *simDisk) cut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dead = true
}

// survivors writes what the platters have into dir: all that was synced, and of
// the writes after that some, the last of them perhaps in part.
func (d *simDisk) survivors(t testing.TB, from, dir string, rnd *rand.Rand) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	names := d.files
	if rnd.IntN(2) == 0 { // the directory itself may be as last synced
		names = map[string]*simContent{}
		for _, files := range d.durable {
			for name, c := range files {
				names[name] = c
			}
		}
	}
	for name, c := range names {
		content := bytes.Clone(c.synced)
		for _, w := range c.later[:rnd.IntN(len(c.later)+1)] {
			if w.off >= 0 && rnd.IntN(4) == 0 {
				w.data = w.data[:rnd.IntN(len(w.data)+1)]
			}
			content = w.apply(content)
		}
		to := filepath.Join(dir, strings.TrimPrefix(name, from))
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// copyDir copies a journal, as an image of what a killed process leaves.
func copyDir(t testing.TB, from string) string {
	t.Helper()
	to := t.TempDir()
	err := filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		target := filepath.Join(to, strings.TrimPrefix(path, from))
		if e.IsDir() {
			return os.MkdirAll(target, 0o700)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(target, b, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	return to
}
