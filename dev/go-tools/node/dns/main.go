// Command dns is CoreDNS with the plugins that a cluster's own names need, and
// no more: it cannot ask another server.
package main

import (
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"
	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/kubernetes"
)

func main() {
	// In the order in which they handle a question.
	dnsserver.Directives = []string{"bind", "errors", "kubernetes"}
	coremain.Run()
}
