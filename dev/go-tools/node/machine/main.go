// Command machine makes real nodes out of namespaces on one Linux machine. Each
// node has its own processes, mounts, network and host name; the nodes of a
// cluster share one network segment, which reaches nothing but the API server.
// All of it lives in processes: when they end, the kernel takes it away.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
)

var commands = map[string]func(arguments []string) error{
	"network": runNetwork,
	"boot":    runBoot,
	"init":    runInit,
	"sweep":   runSweep,
	"enter":   runEnter,
	"image":   runImage,
	"link":    runLink,
}

// The main thread stays with the main goroutine: what changes the namespaces of
// a thread then happens either here on purpose or on a thread that is thrown away.
func init() { runtime.LockOSThread() }

func main() {
	program := filepath.Base(os.Args[0])
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintf(os.Stderr, "usage: %s network|boot|enter|link|image [FLAG ...]\n", program)
		os.Exit(2)
	}
	if err := commands[os.Args[1]](os.Args[2:]); err != nil {
		fmt.Fprintf(os.Stderr, "%s %s: %v\n", program, os.Args[1], err)
		os.Exit(1)
	}
}
