package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	nodeBridge   = "cni0"
	uplink       = "uplink"
	sweepTimeout = 30 * time.Second
)

// runBoot switches one node on. The node's first process (runInit) is this
// one's child; whatever runs in the node dies with it, and it dies with us.
func runBoot(arguments []string) error {
	flags := flag.NewFlagSet("boot", flag.ExitOnError)
	name := flags.String("name", "", "name of the node, and of its port in the segment")
	root := flags.String("root", "", "folder that becomes the node's root")
	network := flags.String("network", "", "the segment's network namespace")
	address := flags.String("address", "", "the node's address, with its prefix length")
	cgroup := flags.String("cgroup", "", "name of the node's cgroup in each hierarchy")
	binds := newList(flags, "bind", "SOURCE:TARGET, a folder of the machine shown read-only in the node; may be repeated")
	ready := flags.String("ready", "", "file that is written when the node is on")
	_ = flags.Parse(arguments)

	end := make(chan os.Signal, 1)
	signal.Notify(end, unix.SIGTERM, unix.SIGINT, unix.SIGQUIT)
	sweeper, err := startSweeper(*cgroup)
	if err != nil {
		return err
	}
	defer sweeper.finish()
	if err := makeCgroups(*cgroup); err != nil {
		return err
	}
	first, err := startFirst(*name, *root, *binds)
	if err != nil {
		return err
	}
	defer first.kill()
	if err := first.connect(*name, *network, *address); err != nil {
		return err
	}
	if err := first.begin(); err != nil {
		return err
	}
	if err := report(*ready, strconv.Itoa(first.command.Process.Pid)); err != nil {
		return err
	}
	select {
	case <-end:
		return nil
	case <-first.ended:
		return errors.New("the node's first process ended")
	}
}

// sweeper is a process that outlives us, and removes the cgroups when the pipe to us ends.
type sweeper struct {
	command *exec.Cmd
	pipe    io.Closer
}

func startSweeper(cgroup string) (*sweeper, error) {
	command := exec.Command("/proc/self/exe", "sweep", "-cgroup", cgroup)
	command.Stderr = os.Stderr
	command.SysProcAttr = &unix.SysProcAttr{Setsid: true}
	pipe, err := command.StdinPipe()
	if err != nil {
		return nil, err
	}
	return &sweeper{command, pipe}, command.Start()
}

func (s *sweeper) finish() {
	_ = s.pipe.Close()
	_ = s.command.Wait()
}

// runSweep waits for the end of its input.
func runSweep(arguments []string) error {
	flags := flag.NewFlagSet("sweep", flag.ExitOnError)
	cgroup := flags.String("cgroup", "", "name of the cgroup to remove")
	_ = flags.Parse(arguments)
	signal.Ignore(unix.SIGTERM, unix.SIGINT, unix.SIGQUIT, unix.SIGHUP)
	_, _ = io.Copy(io.Discard, os.Stdin)
	return removeCgroups(*cgroup, sweepTimeout)
}

// first is the node's first process, seen from outside.
type first struct {
	command *exec.Cmd
	begins  io.WriteCloser
	begun   io.Reader
	ended   chan struct{}
}

func startFirst(name, root string, binds []string) (*first, error) {
	arguments := []string{"init", "-name", name, "-root", root}
	for _, bind := range binds {
		arguments = append(arguments, "-bind", bind)
	}
	command := exec.Command("/proc/self/exe", arguments...)
	command.Stderr = os.Stderr
	command.SysProcAttr = &unix.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS,
		Pdeathsig:  unix.SIGKILL,
	}
	begins, err := command.StdinPipe()
	if err != nil {
		return nil, err
	}
	begun, err := command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("start the node's first process: %w", err)
	}
	ended := make(chan struct{})
	go func() {
		_, _ = command.Process.Wait()
		close(ended)
	}()
	return &first{command, begins, begun, ended}, nil
}

func (f *first) kill() {
	_ = f.command.Process.Kill()
	<-f.ended
}

// begin lets the process make its mounts, and returns when it has.
func (f *first) begin() error {
	if err := f.begins.Close(); err != nil {
		return err
	}
	answer := make([]byte, 1)
	if _, err := io.ReadFull(f.begun, answer); err != nil {
		return fmt.Errorf("the node's first process ended at its start: %w", err)
	}
	return nil
}

// connect joins the node to the segment: one flat network, in which each node
// is a bridge with its pods, and a cable from there to the segment's bridge.
func (f *first) connect(name, network, address string) error {
	segment, err := unix.Open(network, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open the segment: %w", err)
	}
	defer unix.Close(segment)
	pid := f.command.Process.Pid
	if err := inNetwork(segment, func() error { return addPort(name, pid) }); err != nil {
		return err
	}
	own, err := unix.Open(fmt.Sprintf("/proc/%d/ns/net", pid), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(own)
	return inNetwork(own, func() error {
		bridge, err := addBridge(nodeBridge, address)
		if err != nil {
			return err
		}
		cable, err := netlink.LinkByName(uplink)
		if err != nil {
			return err
		}
		return plug(cable, bridge)
	})
}

func addPort(name string, peer int) error {
	attributes := netlink.NewLinkAttrs()
	attributes.Name = name
	port := &netlink.Veth{LinkAttrs: attributes, PeerName: uplink, PeerNamespace: netlink.NsPid(peer)}
	if err := netlink.LinkAdd(port); err != nil {
		return fmt.Errorf("add port %s: %w", name, err)
	}
	bridge, err := netlink.LinkByName(segmentBridge)
	if err != nil {
		return err
	}
	return plug(port, bridge)
}

func plug(link, bridge netlink.Link) error {
	if err := netlink.LinkSetMaster(link, bridge); err != nil {
		return err
	}
	return netlink.LinkSetUp(link)
}
