package spawn

import (
	"bytes"
	"sync"
	"sync/atomic"
	"time"

	"bothy/runner/worker"
)

// output passes what a command writes on to its sink, one piece at a time.
type output struct {
	sink    worker.Sink
	trouble chan worker.Stopped // why the command must be stopped, at most once
	last    atomic.Int64        // when something was written last, since start
	waiting atomic.Int32        // how many wait for the sink
	start   time.Time

	mu    sync.Mutex
	lines int // that may still come; -1: any number
	err   error
	shut  bool // nothing goes to the sink any more
}

func newOutput(sink worker.Sink, maxLines int) *output {
	if maxLines <= 0 {
		maxLines = -1
	}
	return &output{sink: sink, lines: maxLines, trouble: make(chan worker.Stopped, 1), start: time.Now()}
}

// write passes p on. The sink may take its time: that is not the command's.
func (o *output) write(log string, s worker.Stream, p []byte) {
	o.waiting.Add(1)
	o.mu.Lock()
	if !o.shut {
		o.pass(log, s, p)
	}
	o.mu.Unlock()
	o.last.Store(int64(time.Since(o.start)))
	o.waiting.Add(-1)
}

func (o *output) pass(log string, s worker.Stream, p []byte) {
	var why worker.Stopped
	if o.lines >= 0 && log == "" {
		if rest, over := o.count(p); over {
			p, why = rest, worker.MaxLined
		}
	}
	if len(p) > 0 {
		if err := o.sink.Output(log, s, p); err != nil {
			o.err, why = err, worker.SinkFailed
		}
	}
	if why != worker.NotStopped {
		o.shut = true
		o.trouble <- why
	}
}

// count returns the part of p that is within the allowed lines, and whether
// there was more.
func (o *output) count(p []byte) (within []byte, over bool) {
	n := bytes.Count(p, []byte{'\n'})
	if n < o.lines {
		o.lines -= n
		return p, false
	}
	end := 0
	for ; o.lines > 0; o.lines-- {
		end += bytes.IndexByte(p[end:], '\n') + 1
	}
	return p[:end], end < len(p)
}

// idle returns for how long the command has written nothing although it could.
func (o *output) idle() time.Duration {
	if o.waiting.Load() > 0 {
		return 0
	}
	return time.Since(o.start) - time.Duration(o.last.Load())
}

func (o *output) sinkErr() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}
