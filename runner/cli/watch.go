package cli

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"strings"
	"time"
)

const (
	// watchAgain is how long after a stream of events broke off it is asked for
	// again.
	watchAgain = time.Second
	// lookAgain is how often is looked without an event: one look may have failed.
	lookAgain = 5 * time.Second
)

// watch returns a channel that receives when something may have happened below
// a path of events, such as "buildrequests/12/*", until ctx ends: at once, at each
// event, and at least every watchAgain while no stream can be had. What
// has happened is for the caller to ask.
func (m *client) watch(ctx context.Context, path string) <-chan struct{} {
	news := make(chan struct{}, 1)
	tell := func() {
		select {
		case news <- struct{}{}:
		default: // it has not looked yet
		}
	}
	go func() {
		for ctx.Err() == nil {
			select {
			case <-time.After(lookAgain):
				tell()
			case <-ctx.Done():
			}
		}
	}()
	go func() {
		for ctx.Err() == nil {
			m.stream(ctx, path, tell)
			tell()
			select {
			case <-time.After(watchAgain):
			case <-ctx.Done():
			}
		}
	}()
	return news
}

// stream calls tell when the stream stands and for each event, until it ends.
func (m *client) stream(ctx context.Context, path string, tell func()) {
	body, err := m.open(ctx, http.MethodGet, "/sse/listen/"+path, nil)
	if err != nil {
		return // the caller's own question will say what is wrong
	}
	defer body.Close()
	lines := bufio.NewReader(body)
	for {
		line, err := lines.ReadSlice('\n')
		switch {
		case err == bufio.ErrBufferFull:
			continue // the rest of an event's data
		case err == io.EOF || err != nil:
			return
		case strings.HasPrefix(string(line), "event:"):
			tell()
		}
	}
}
