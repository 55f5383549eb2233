package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// hierarchy is one mounted cgroup hierarchy: v1 has several, v2 has one.
type hierarchy struct {
	path      string
	isUnified bool
}

func hierarchies() ([]hierarchy, error) {
	file, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var found []hierarchy
	for lines := bufio.NewScanner(file); lines.Scan(); {
		before, after, _ := strings.Cut(lines.Text(), " - ")
		kind, _, _ := strings.Cut(after, " ")
		if fields := strings.Fields(before); kind == "cgroup" || kind == "cgroup2" {
			found = append(found, hierarchy{fields[4], kind == "cgroup2"})
		}
	}
	if len(found) == 0 {
		return nil, errors.New("no cgroup hierarchy is mounted")
	}
	return found, nil
}

// makeCgroups makes the cgroup that is the root for one kubelet.
func makeCgroups(name string) error {
	all, err := hierarchies()
	if err != nil {
		return err
	}
	for _, h := range all {
		if err := h.make(name); err != nil {
			return fmt.Errorf("make cgroup %s in %s: %w", name, h.path, err)
		}
	}
	return nil
}

func (h hierarchy) make(name string) error {
	own := filepath.Join(h.path, name)
	if err := os.Mkdir(own, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if h.isUnified {
		return delegate(h.path, own)
	}
	return fillCpuset(h.path, own)
}

// delegate offers the machine's controllers to the cgroup and to those below it.
func delegate(parent, own string) error {
	offered, err := os.ReadFile(filepath.Join(parent, "cgroup.controllers"))
	if err != nil {
		return err
	}
	for _, controller := range strings.Fields(string(offered)) {
		for _, folder := range []string{parent, own} {
			file := filepath.Join(folder, "cgroup.subtree_control")
			if err := os.WriteFile(file, []byte("+"+controller), 0); err != nil {
				return err
			}
		}
	}
	return nil
}

// fillCpuset gives a new v1 cpuset its parent's CPUs: it begins with none, and refuses processes.
func fillCpuset(parent, own string) error {
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		value, err := os.ReadFile(filepath.Join(parent, file))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(own, file), value, 0); err != nil {
			return err
		}
	}
	return nil
}

// removeCgroups tries again while processes in them still end.
func removeCgroups(name string, timeout time.Duration) error {
	all, err := hierarchies()
	if err != nil {
		return err
	}
	for deadline := time.Now().Add(timeout); ; time.Sleep(20 * time.Millisecond) {
		left := ""
		for _, h := range all {
			if own := filepath.Join(h.path, name); !removeTree(own) {
				left = own
			}
		}
		if left == "" {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s is still there after %s", left, timeout)
		}
	}
}

// removeTree removes a cgroup with those below it; says whether it is gone. The
// files in a cgroup go with it.
func removeTree(folder string) bool {
	entries, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return true
	}
	for _, entry := range entries {
		if entry.IsDir() {
			removeTree(filepath.Join(folder, entry.Name()))
		}
	}
	_ = os.Remove(folder)
	_, err = os.Stat(folder)
	return errors.Is(err, fs.ErrNotExist)
}
