package web_test

import (
	"strings"
	"testing"
	"time"

	"bothy/runner"
	"bothy/runner/config"
)

// A master that is ending says so on every page, until it has.
func TestEndingIsShown(t *testing.T) {
	hold := newGate(t)
	r := newRig(t, &config.Config{
		Builders: []config.Builder{builder("test", "echo begun; "+hold.wait)}, Workers: []config.Worker{{Name: "w"}},
	})
	b := r.tab()
	b.open("")
	r.submit(runner.Request{Builder: "test"})
	b.says("#running .out", "begun")
	ended := make(chan error, 1)
	go func() { ended <- r.Shutdown(t.Context()) }()
	pause := time.NewTicker(10 * time.Millisecond)
	defer pause.Stop()
	for end := time.Now().Add(patience); ; <-pause.C {
		if _, page := r.get("workers"); strings.Contains(page, "the master is ending") {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the page does not say that the master is ending")
		}
	}
	b.open("workers")
	b.says("#banner", "running builds may finish")
	hold.open()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	b.forgive("net::ERR")
	b.forgive("503")
}
