package main

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"time"
)

const retryInterval = 200 * time.Millisecond

// rendezvous returns when all pods of the gang have met: each of the others
// dials the leader and says its index; when all are there the leader answers.
func rendezvous(port string) error {
	deadline := time.Now().Add(time.Duration(number("WORK_RENDEZVOUS_SECONDS", 60)) * time.Second)
	if number("ROTA_JOB_INDEX", 0) == 0 {
		return lead(port, number("ROTA_JOB_SIZE", 1)-1, deadline)
	}
	address := net.JoinHostPort(os.Getenv("ROTA_JOB_LEADER_ADDRESS"), port)
	for {
		err := follow(address, deadline)
		if err == nil {
			say("met the leader at %s", address)
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("no rendezvous with %s: %w", address, err)
		}
		say("the leader does not answer yet: %v", err)
		time.Sleep(retryInterval)
	}
}

func lead(port string, others int, deadline time.Time) error {
	listener, err := net.Listen("tcp", ":"+port)
	if err != nil {
		return err
	}
	defer listener.Close()
	if err := listener.(*net.TCPListener).SetDeadline(deadline); err != nil {
		return err
	}
	met := map[string]net.Conn{}
	for len(met) < others {
		connection, err := listener.Accept()
		if err != nil {
			return fmt.Errorf("met %d of %d: %w", len(met), others, err)
		}
		_ = connection.SetDeadline(deadline)
		index, err := bufio.NewReader(connection).ReadString('\n')
		if err != nil {
			_ = connection.Close()
			continue
		}
		say("met pod %s from %s", index[:len(index)-1], connection.RemoteAddr())
		met[index] = connection
	}
	for _, connection := range met {
		_, _ = fmt.Fprintln(connection, "all are here")
		_ = connection.Close()
	}
	return nil
}

func follow(address string, deadline time.Time) error {
	connection, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		return err
	}
	defer connection.Close()
	_ = connection.SetDeadline(deadline)
	if _, err := fmt.Fprintln(connection, os.Getenv("ROTA_JOB_INDEX")); err != nil {
		return err
	}
	_, err = bufio.NewReader(connection).ReadString('\n')
	return err
}
