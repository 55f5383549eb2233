package main

import (
	"flag"
	"strings"
)

// list is a flag that may be given several times.
type list []string

func (l *list) String() string { return strings.Join(*l, ",") }

func (l *list) Set(value string) error {
	*l = append(*l, value)
	return nil
}

func newList(flags *flag.FlagSet, name, usage string) *list {
	var values list
	flags.Var(&values, name, usage)
	return &values
}
