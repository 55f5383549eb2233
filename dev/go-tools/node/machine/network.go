package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

const (
	segmentBridge = "segment"
	dialTimeout   = 10 * time.Second
)

// runNetwork holds the segment of one cluster. Two doors lead through its wall,
// both to and from the API server, which listens on the machine's loopback:
// nodes and pods reach it at -listen, and it reaches kubelets through the proxy
// at -socket (HTTP CONNECT, the API server's egress selector).
func runNetwork(arguments []string) error {
	flags := flag.NewFlagSet("network", flag.ExitOnError)
	addresses := newList(flags, "address", "address of the segment's own, with its prefix length; may be repeated")
	listen := flags.String("listen", "", "where the API server answers inside")
	target := flags.String("api-server", "", "where it listens outside")
	socket := flags.String("socket", "", "socket of the proxy into the segment")
	ready := flags.String("ready", "", "file that is written when the segment is there")
	_ = flags.Parse(arguments)

	namespace, err := newNetwork()
	if err != nil {
		return err
	}
	var inside net.Listener
	err = inNetwork(namespace, func() error {
		if _, err := addBridge(segmentBridge, *addresses...); err != nil {
			return err
		}
		inside, err = net.Listen("tcp", *listen)
		return err
	})
	if err != nil {
		return err
	}
	_ = os.Remove(*socket)
	outside, err := net.Listen("unix", *socket)
	if err != nil {
		return err
	}
	dial := func(address string) (net.Conn, error) { return dialIn(namespace, address) }
	failed := make(chan error, 2)
	go func() { failed <- serve(inside, func(client net.Conn) { forward(client, *target) }) }()
	go func() { failed <- serve(outside, func(client net.Conn) { connect(client, dial) }) }()
	path := fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), namespace)
	if err := report(*ready, path); err != nil {
		return err
	}
	return <-failed
}

func dialIn(namespace int, address string) (connection net.Conn, err error) {
	err = inNetwork(namespace, func() error {
		connection, err = net.DialTimeout("tcp", address, dialTimeout)
		return err
	})
	return connection, err
}

func serve(listener net.Listener, handle func(net.Conn)) error {
	for {
		client, err := listener.Accept()
		if err != nil {
			return err
		}
		go handle(client)
	}
}

func forward(client net.Conn, target string) {
	defer client.Close()
	server, err := net.DialTimeout("tcp", target, dialTimeout)
	if err != nil {
		// The API server may be away for a while; clients try again.
		log.Print(err)
		return
	}
	defer server.Close()
	join(client, client, server)
}

// connect answers one CONNECT request, and is a tunnel from then on.
func connect(client net.Conn, dial func(address string) (net.Conn, error)) {
	defer client.Close()
	reader := bufio.NewReader(client)
	request, err := http.ReadRequest(reader)
	if err != nil {
		return
	}
	if request.Method != http.MethodConnect {
		_, _ = io.WriteString(client, "HTTP/1.1 405 Method Not Allowed\r\n\r\n")
		return
	}
	server, err := dial(request.Host)
	if err != nil {
		log.Print(err)
		_, _ = io.WriteString(client, "HTTP/1.1 502 Bad Gateway\r\n\r\n")
		return
	}
	defer server.Close()
	if _, err := io.WriteString(client, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		return
	}
	join(client, reader, server)
}

// join copies in both directions until both have ended. The client's bytes come
// from its reader, which may hold some that were read ahead.
func join(client net.Conn, fromClient io.Reader, server net.Conn) {
	var both sync.WaitGroup
	both.Go(func() { copyThenClose(server, fromClient) })
	both.Go(func() { copyThenClose(client, server) })
	both.Wait()
}

func copyThenClose(to net.Conn, from io.Reader) {
	_, err := io.Copy(to, from)
	half, canHalfClose := to.(interface{ CloseWrite() error })
	if err != nil || !canHalfClose {
		_ = to.Close()
		return
	}
	_ = half.CloseWrite()
}

// report makes the file appear with its whole content.
func report(file, content string) error {
	if file == "" {
		return errors.New("-ready is missing")
	}
	if err := os.WriteFile(file+".tmp", []byte(content+"\n"), 0o600); err != nil {
		return err
	}
	return os.Rename(file+".tmp", file)
}
