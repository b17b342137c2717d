package main

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// memoryShare is how much of the memory there is Go may use, in a hundred: the rest is
// for the kernel's share of connections and for files (F15).
const memoryShare = 85

// boundMemory has Go collect sooner, and the doors turn newcomers away, before the
// kernel ends the process: within what a control group or the machine leaves it. What
// an operator sets in GOMEMLIMIT holds.
func boundMemory() error {
	if os.Getenv("GOMEMLIMIT") != "" {
		return nil
	}
	limit, err := memoryLimit("/proc/self")
	if err != nil {
		return fmt.Errorf("memory limit: %w", err)
	}
	debug.SetMemoryLimit(limit / 100 * memoryShare)
	return nil
}

// memoryLimit is the memory of the machine, or of the tightest control group around a
// process, in bytes.
func memoryLimit(process string) (int64, error) {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return 0, err
	}
	limit := int64(min(uint64(info.Totalram)*uint64(info.Unit), math.MaxInt64))
	groups, err := os.ReadFile(filepath.Join(process, "cgroup"))
	if errors.Is(err, os.ErrNotExist) {
		return limit, nil // a kernel without control groups
	} else if err != nil {
		return 0, err
	}
	mounts, err := os.ReadFile(filepath.Join(process, "mountinfo"))
	if err != nil {
		return 0, err
	}
	for _, h := range hierarchies(string(mounts)) {
		for dir := h.folder(string(groups)); len(dir) >= len(h.mounted); dir = filepath.Dir(dir) {
			for _, name := range h.files {
				n, err := readLimit(filepath.Join(dir, name))
				if err != nil {
					return 0, err
				}
				limit = min(limit, n)
			}
			if dir == "/" {
				break
			}
		}
	}
	return limit, nil
}

// readLimit is the limit in a file of a control group: none where it says max, or is not
// there, as at the top.
func readLimit(file string) (int64, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return math.MaxInt64, nil
	} else if err != nil {
		return 0, err
	}
	text = bytes.TrimSpace(text)
	if string(text) == "max" {
		return math.MaxInt64, nil
	}
	n, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", file, err)
	}
	return n, nil
}

// hierarchy is where control groups that bound memory are seen.
type hierarchy struct {
	controller    string // memory, or "" for version 2
	root, mounted string // which group is shown where
	files         []string
}

// hierarchies reads /proc/PID/mountinfo (proc_pid_mountinfo(5)).
func hierarchies(mounts string) (list []hierarchy) {
	for line := range strings.Lines(mounts) {
		before, after, _ := strings.Cut(line, " - ")
		fields, kind := strings.Fields(before), strings.Fields(after)
		if len(fields) < 5 || len(kind) < 3 {
			continue
		}
		switch {
		case kind[0] == "cgroup2":
			list = append(list, hierarchy{"", fields[3], fields[4], []string{"memory.max", "memory.high"}})
		case kind[0] == "cgroup" && strings.Contains(","+kind[2]+",", ",memory,"):
			list = append(list, hierarchy{"memory", fields[3], fields[4], []string{"memory.limit_in_bytes"}})
		}
	}
	return list
}

// folder is that of the group that /proc/PID/cgroup names (cgroups(7)); the highest that
// is seen, where that one is not.
func (h *hierarchy) folder(groups string) string {
	for line := range strings.Lines(groups) {
		fields := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(fields) < 3 || !strings.Contains(","+fields[1]+",", ","+h.controller+",") {
			continue
		}
		if within, ok := strings.CutPrefix(fields[2], strings.TrimSuffix(h.root, "/")); ok && !strings.Contains(within, "/..") {
			return filepath.Join(h.mounted, within)
		}
	}
	return h.mounted
}
