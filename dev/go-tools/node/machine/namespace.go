package main

import (
	"fmt"
	"runtime"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// inNetwork runs the action on a thread inside a network namespace. The thread
// ends with its goroutine, since it is not unlocked: nothing else runs there.
func inNetwork(namespace int, action func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if err := unix.Setns(namespace, unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("enter the network namespace: %w", err)
			return
		}
		done <- action()
	}()
	return <-done
}

// newNetwork makes a network namespace, which lives as long as its descriptor.
func newNetwork() (int, error) {
	type result struct {
		descriptor int
		err        error
	}
	done := make(chan result, 1)
	go func() {
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			done <- result{err: fmt.Errorf("make a network namespace: %w", err)}
			return
		}
		descriptor, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		done <- result{descriptor, err}
	}()
	made := <-done
	return made.descriptor, made.err
}

// addBridge makes a bridge with these addresses, and sets loopback up beside it.
func addBridge(name string, addresses ...string) (netlink.Link, error) {
	loopback, err := netlink.LinkByName("lo")
	if err != nil {
		return nil, err
	}
	if err := netlink.LinkSetUp(loopback); err != nil {
		return nil, fmt.Errorf("set loopback up: %w", err)
	}
	attributes := netlink.NewLinkAttrs()
	attributes.Name = name
	bridge := &netlink.Bridge{LinkAttrs: attributes}
	if err := netlink.LinkAdd(bridge); err != nil {
		return nil, fmt.Errorf("add bridge %s: %w", name, err)
	}
	for _, text := range addresses {
		address, err := netlink.ParseAddr(text)
		if err != nil {
			return nil, err
		}
		if err := netlink.AddrAdd(bridge, address); err != nil {
			return nil, fmt.Errorf("add %s to bridge %s: %w", text, name, err)
		}
	}
	return bridge, netlink.LinkSetUp(bridge)
}
