package cli

import (
	"os"
	"syscall"
)

func stopSignals() []os.Signal { return []os.Signal{os.Interrupt, syscall.SIGTERM} }

func serveSignals() []os.Signal { return stopSignals() }

func isDrain(os.Signal) bool  { return false }
func isReload(os.Signal) bool { return false }
