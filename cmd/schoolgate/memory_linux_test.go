package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestMemoryLimit: the tightest of the control groups around the process counts, in
// either version, also where only a part of the tree is shown.
func TestMemoryLimit(t *testing.T) {
	for _, c := range []struct {
		name, mounts, groups string
		files                map[string]string
		want                 int64 // 0: the machine's
	}{
		{"none", "22 1 0:21 / ROOT rw - sysfs sysfs rw\n", "", nil, 0},
		{"version 2", "30 1 0:26 / ROOT rw - cgroup2 cgroup2 rw\n", "0::/system.slice/schoolgate.service\n",
			map[string]string{"system.slice/schoolgate.service/memory.max": "268435456", "system.slice/memory.max": "max"}, 256 << 20},
		{"version 2, tighter above", "30 1 0:26 / ROOT rw - cgroup2 cgroup2 rw\n", "0::/system.slice/schoolgate.service\n",
			map[string]string{"system.slice/schoolgate.service/memory.max": "268435456", "system.slice/memory.max": "134217728"}, 128 << 20},
		{"version 2, held back before", "30 1 0:26 / ROOT rw - cgroup2 cgroup2 rw\n", "0::/a\n",
			map[string]string{"a/memory.max": "268435456", "a/memory.high": "201326592"}, 192 << 20},
		{"version 1 beside 2", "29 1 0:25 / ROOT/2 rw - cgroup2 cgroup2 rw\n31 1 0:27 / ROOT/memory rw - cgroup cgroup rw,memory\n",
			"4:memory:/box\n2:cpu,cpuacct:/\n0::/\n", map[string]string{"memory/box/memory.limit_in_bytes": "268435456", "memory/memory.limit_in_bytes": "9223372036854771712"}, 256 << 20},
		{"a container that sees its own group only", "30 1 0:26 /docker/abc ROOT ro - cgroup2 cgroup2 rw\n", "0::/docker/abc\n",
			map[string]string{"memory.max": "268435456"}, 256 << 20},
		{"a group that is not shown", "30 1 0:26 / ROOT ro - cgroup2 cgroup2 rw\n", "0::/../other\n",
			map[string]string{"memory.max": "268435456"}, 256 << 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			root, proc := t.TempDir(), t.TempDir()
			write := func(name, text string) {
				t.Helper()
				if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			write(filepath.Join(proc, "mountinfo"), strings.ReplaceAll(c.mounts, "ROOT", root))
			write(filepath.Join(proc, "cgroup"), c.groups)
			for name, text := range c.files {
				write(filepath.Join(root, name), text+"\n")
			}
			got, err := memoryLimit(proc)
			if err != nil || c.want > 0 && got != c.want || got < 1<<20 {
				t.Errorf("memoryLimit = %d, %v, want %d", got, err, c.want)
			}
		})
	}
	whole, err := memoryLimit(t.TempDir())
	if own, ownErr := memoryLimit("/proc/self"); err != nil || ownErr != nil || own > whole || own < 64<<20 {
		t.Errorf("this process: %d, %v; the machine %d, %v", own, ownErr, whole, err)
	}
	damaged := t.TempDir()
	for name, text := range map[string]string{"mountinfo": fmt.Sprintf("30 1 0:26 / %s rw - cgroup2 cgroup2 rw\n", damaged), "cgroup": "0::/\n", "memory.max": "much\n"} {
		if err := os.WriteFile(filepath.Join(damaged, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := memoryLimit(damaged); err == nil {
		t.Errorf("a limit that is no number is taken for %d", n)
	}
}
