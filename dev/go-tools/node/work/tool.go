package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"time"
)

const toolUsage = `usage: work
       work cat FILE             print a file
       work write FILE TEXT      write a file
       work env                  print the environment
       work echo                 copy the input to the output
       work lookup NAME          print the addresses of a name
       work dial HOST:PORT       say whether something listens there
       work sleep SECONDS
       work exit CODE
`

const lookupTimeout = 10 * time.Second

// tool does one small thing, and returns the exit code.
func tool(name string, arguments []string) int {
	if err := do(name, arguments); err != nil {
		fmt.Fprintln(os.Stderr, "work:", err)
		return 1
	}
	return 0
}

func do(name string, arguments []string) error {
	argument := func(index int) string {
		if index < len(arguments) {
			return arguments[index]
		}
		fmt.Fprint(os.Stderr, toolUsage)
		os.Exit(2)
		return ""
	}
	switch name {
	case "cat":
		return printFile(argument(0))
	case "write":
		return os.WriteFile(argument(0), []byte(argument(1)), 0o666)
	case "env":
		for _, variable := range os.Environ() {
			fmt.Println(variable)
		}
		return nil
	case "echo":
		_, err := io.Copy(os.Stdout, os.Stdin)
		return err
	case "lookup":
		return lookup(argument(0))
	case "dial":
		return dial(argument(0))
	case "sleep":
		seconds, err := strconv.ParseFloat(argument(0), 64)
		time.Sleep(time.Duration(seconds * float64(time.Second)))
		return err
	case "exit":
		code, err := strconv.Atoi(argument(0))
		if err == nil {
			os.Exit(code)
		}
		return err
	default:
		return fmt.Errorf("%q is not known\n%s", name, toolUsage)
	}
}

func printFile(path string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(content)
	return err
}

func lookup(name string) error {
	ctx, cancel := context.WithTimeout(context.Background(), lookupTimeout)
	defer cancel()
	addresses, err := net.DefaultResolver.LookupHost(ctx, name)
	for _, address := range addresses {
		fmt.Println(address)
	}
	return err
}

func dial(address string) error {
	connection, err := net.DialTimeout("tcp", address, lookupTimeout)
	if err != nil {
		return err
	}
	return connection.Close()
}
