package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

const formerRoot = ".former-root"

// systemFolders hold the machine's own programs: the kubelet calls mount and umount.
var systemFolders = []string{"bin", "lib", "lib32", "lib64", "sbin", "usr"}

// kernelDefaults is what the kubelet asks of the kernel, and would set for the
// whole machine where it is not so. The node is shown these values instead.
var kernelDefaults = map[string]string{
	"kernel/keys/root_maxbytes": "25000000",
	"kernel/keys/root_maxkeys":  "1000000",
	"kernel/panic":              "10",
	"kernel/panic_on_oops":      "1",
	"vm/overcommit_memory":      "1",
	"vm/panic_on_oom":           "0",
}

// runInit is the first process of a node: it makes the node's root, and then
// waits for processes whose parents have left them.
func runInit(arguments []string) error {
	flags := flag.NewFlagSet("init", flag.ExitOnError)
	name := flags.String("name", "", "host name")
	root := flags.String("root", "", "folder that becomes the root")
	binds := newList(flags, "bind", "SOURCE:TARGET, shown read-only; may be repeated")
	_ = flags.Parse(arguments)

	_, _ = io.Copy(io.Discard, os.Stdin) // until the network is there
	if err := unix.Sethostname([]byte(*name)); err != nil {
		return fmt.Errorf("set the host name: %w", err)
	}
	if err := makeRoot(*root, *binds); err != nil {
		return err
	}
	if _, err := os.Stdout.WriteString("!"); err != nil {
		return err
	}
	reap()
	return nil
}

func reap() {
	children := make(chan os.Signal, 1)
	signal.Notify(children, unix.SIGCHLD)
	signal.Ignore(unix.SIGTERM, unix.SIGINT, unix.SIGQUIT, unix.SIGHUP)
	for range children {
		for {
			pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
			if pid <= 0 || (err != nil && !errors.Is(err, unix.EINTR)) {
				break
			}
		}
	}
}

func makeRoot(root string, binds []string) error {
	// What is mounted from here on is seen by nobody outside.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make the mounts private: %w", err)
	}
	if err := unix.Mount(root, root, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount %s: %w", root, err)
	}
	if err := showSystem(root); err != nil {
		return err
	}
	for _, bind := range binds {
		source, target, _ := strings.Cut(bind, ":")
		if err := showReadOnly(source, filepath.Join(root, target)); err != nil {
			return err
		}
	}
	if err := mountKernel(root); err != nil {
		return err
	}
	if err := enterRoot(root); err != nil {
		return err
	}
	// Pods may ask that mounts be propagated, from and to the node.
	return unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, "")
}

// showSystem shows the machine's programs; where /bin is a link into /usr it stays one.
func showSystem(root string) error {
	for _, name := range systemFolders {
		source, target := "/"+name, filepath.Join(root, name)
		link, err := os.Readlink(source)
		if err == nil {
			if err := os.Symlink(link, target); err != nil && !errors.Is(err, fs.ErrExist) {
				return err
			}
			continue
		}
		if _, err := os.Stat(source); err != nil {
			continue
		}
		if err := showReadOnly(source, target); err != nil {
			return err
		}
	}
	return nil
}

func showReadOnly(source, target string) error {
	if err := os.MkdirAll(target, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(source, target, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("show %s at %s: %w", source, target, err)
	}
	return unix.Mount("", target, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, "")
}

type mount struct {
	source, target, kind string
	flags                uintptr
	data                 string
}

func mountKernel(root string) error {
	const harmless = unix.MS_NOSUID | unix.MS_NODEV
	mounts := []mount{
		{"proc", "proc", "proc", harmless | unix.MS_NOEXEC, ""},
		{"sysfs", "sys", "sysfs", harmless | unix.MS_NOEXEC, ""},
		{"/sys/fs/cgroup", "sys/fs/cgroup", "", unix.MS_BIND | unix.MS_REC, ""},
		{"/dev", "dev", "", unix.MS_BIND | unix.MS_REC, ""},
		{"run", "run", "tmpfs", harmless, "mode=755"},
		{"tmp", "tmp", "tmpfs", harmless, "mode=1777"},
	}
	for _, m := range mounts {
		target := filepath.Join(root, m.target)
		if err := os.MkdirAll(target, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.source, target, m.kind, m.flags, m.data); err != nil {
			return fmt.Errorf("mount /%s: %w", m.target, err)
		}
	}
	return showKernelDefaults(root)
}

func showKernelDefaults(root string) error {
	folder := filepath.Join(root, "run", "kernel-defaults")
	for name, value := range kernelDefaults {
		source := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(source), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(source, []byte(value+"\n"), 0o644); err != nil {
			return err
		}
		target := filepath.Join(root, "proc/sys", name)
		if _, err := os.Stat(target); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err := unix.Mount(source, target, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("show %s: %w", name, err)
		}
	}
	return nil
}

func enterRoot(root string) error {
	former := filepath.Join(root, formerRoot)
	if err := os.MkdirAll(former, 0o700); err != nil {
		return err
	}
	if err := unix.PivotRoot(root, former); err != nil {
		return fmt.Errorf("change the root: %w", err)
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	return unix.Unmount("/"+formerRoot, unix.MNT_DETACH)
}
