package main

import (
	"flag"

	"github.com/vishvananda/netlink"
)

// runLink sets a network interface up, or down, in the network it runs in.
func runLink(arguments []string) error {
	flags := flag.NewFlagSet("link", flag.ExitOnError)
	name := flags.String("name", "", "name of the interface")
	up := flags.Bool("up", false, "")
	_ = flags.Bool("down", true, "")
	_ = flags.Parse(arguments)
	link, err := netlink.LinkByName(*name)
	if err != nil {
		return err
	}
	if *up {
		return netlink.LinkSetUp(link)
	}
	return netlink.LinkSetDown(link)
}
