package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"

	"golang.org/x/sys/unix"
)

// nodePath is where programs are found in a node; its own come first.
const nodePath = "PATH=/opt/node/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// runEnter runs a program in a node: its parent stays outside, and ends as it ends.
func runEnter(arguments []string) error {
	flags := flag.NewFlagSet("enter", flag.ExitOnError)
	target := flags.Int("target", 0, "pid of the node's first process")
	network := flags.String("network", "", "instead of a node, only a network namespace")
	pidFile := flags.String("pid-file", "", "file for the program's pid, as it is seen from outside")
	_ = flags.Parse(arguments)
	if flags.NArg() == 0 {
		return errors.New("no program is named")
	}
	command := exec.Command(flags.Arg(0), flags.Args()[1:]...)
	command.Stdin, command.Stdout, command.Stderr = os.Stdin, os.Stdout, os.Stderr
	if *target == 0 {
		// In a node it dies with the node. There Go would take its parent, which it cannot see, for dead.
		command.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
	}
	// Nothing of the caller's: a proxy, say, is not to be known in here.
	command.Env = []string{nodePath, "HOME=/root"}
	started := func(int) error { return nil }
	if *pidFile != "" {
		write, err := pidWriter(*pidFile)
		if err != nil {
			return err
		}
		started = write
	}
	if err := enter(*target, *network); err != nil {
		return err
	}
	// Its path is one inside.
	if found, err := exec.LookPath(flags.Arg(0)); err == nil {
		command.Path, command.Err = found, nil
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, unix.SIGTERM, unix.SIGINT, unix.SIGQUIT)
	if err := command.Start(); err != nil {
		return err
	}
	if err := started(command.Process.Pid); err != nil {
		return err
	}
	go func() {
		for received := range signals {
			_ = command.Process.Signal(received)
		}
	}()
	_ = command.Wait()
	os.Exit(statusOf(command.ProcessState))
	return nil
}

func statusOf(state *os.ProcessState) int {
	status, isUnix := state.Sys().(unix.WaitStatus)
	if isUnix && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return state.ExitCode()
}

// pidWriter opens its file while its path still means what the caller meant.
func pidWriter(path string) (func(pid int) error, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	return func(pid int) error {
		defer file.Close()
		_, err := file.WriteString(strconv.Itoa(pid) + "\n")
		return err
	}, nil
}

type namespace struct {
	file string
	kind int
}

// enter changes the namespaces of this thread, which starts the program. The
// mounts come last: until then /proc is the machine's.
func enter(target int, network string) error {
	if target == 0 {
		return enterAll([]namespace{{network, unix.CLONE_NEWNET}})
	}
	folder := fmt.Sprintf("/proc/%d/ns/", target)
	return enterAll([]namespace{
		{folder + "ipc", unix.CLONE_NEWIPC},
		{folder + "uts", unix.CLONE_NEWUTS},
		{folder + "net", unix.CLONE_NEWNET},
		{folder + "pid", unix.CLONE_NEWPID},
		{folder + "mnt", unix.CLONE_NEWNS},
	})
}

func enterAll(namespaces []namespace) error {
	// Threads that share their working directory may not change mounts.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return err
	}
	for _, n := range namespaces {
		descriptor, err := unix.Open(n.file, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("open %s: %w", n.file, err)
		}
		err = unix.Setns(descriptor, n.kind)
		_ = unix.Close(descriptor)
		if err != nil {
			return fmt.Errorf("enter %s: %w", n.file, err)
		}
	}
	return os.Chdir("/")
}
