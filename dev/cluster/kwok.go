package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/pflag"
	"sigs.k8s.io/kwok/pkg/config"
	"sigs.k8s.io/kwok/pkg/kwok/cmd"
	"sigs.k8s.io/kwok/pkg/log"
	"sigs.k8s.io/kwok/pkg/utils/signals"
)

func runKwok() int {
	if err := kwok(); err != nil {
		fmt.Fprintln(os.Stderr, "kwok:", err)
		return 1
	}
	return 0
}

// kwok does what KWOK's own main does: --config and --v are read before the
// command is built, by a flag set that ignores every other flag.
func kwok() error {
	flags := pflag.NewFlagSet("global", pflag.ContinueOnError)
	flags.ParseErrorsAllowlist.UnknownFlags = true
	flags.Usage = func() {}

	ctx, _ := log.InitFlags(signals.SetupSignalContext(), flags)
	ctx, err := config.InitFlags(ctx, flags)
	if err != nil {
		return fmt.Errorf("read the configuration: %w", err)
	}
	return execute(ctx, flags)
}

func execute(ctx context.Context, flags *pflag.FlagSet) error {
	command := cmd.NewCommand(ctx)
	command.PersistentFlags().AddFlagSet(flags)
	// cobra would read the flag --version, which the Kubernetes components linked beside define otherwise.
	command.Version = ""
	return command.ExecuteContext(ctx)
}
