package engine

import (
	"fmt"
	"slices"
	"strings"

	"bothy/runner/internal/logs"
	"bothy/runner/internal/store"
	"bothy/runner/worker"
)

// stepLog is one log of a step, while it is written.
type stepLog struct {
	run  *buildRun
	row  store.Log
	w    *logs.Writer
	news logNews
}

// newLog makes a log. Its id comes from the engine's counter, which the loop
// and the builds share.
func (r *buildRun) newLog(step int, name string) (*stepLog, error) {
	id := r.e.logIDs.Add(1)
	w, err := r.e.opt.Logs.Create(id, r.token, r.masker)
	if err != nil {
		return nil, fmt.Errorf("create log %s of step %d: %w", name, step, err)
	}
	s := &stepLog{run: r, w: w, row: store.Log{ID: id, Build: r.row.ID, Step: step, Name: name}}
	r.open = append(r.open, s)
	return s, nil
}

// header writes lines of Bothy's own.
func (s *stepLog) header(format string, args ...any) {
	text := strings.TrimRight(fmt.Sprintf(format, args...), "\n") + "\n"
	if err := s.write(worker.Header, []byte(text)); err != nil {
		s.run.log().Error("cannot write to the log", "log", s.row.ID, "err", err)
	}
}

// finish closes the log and has the loop record it. What a full disk keeps
// from being finished is tried again with the next commits.
func (s *stepLog) finish() {
	s.run.open = slices.DeleteFunc(s.run.open, func(o *stepLog) bool { return o == s })
	s.news.end()
	info, err := s.w.Finish()
	s.run.e.post(func(l *loop) {
		if err != nil {
			l.log.Error("cannot finish a log; trying again", "log", s.row.ID, "err", err)
			l.unfinished = append(l.unfinished, s)
			l.degrade(err)
			return
		}
		l.logEnded(s.row, info)
	})
}

// logEnded records a finished log; its bytes are synced before the row is.
func (l *loop) logEnded(row store.Log, info logs.Info) {
	row.Ref, row.Lines, row.Bytes, row.Truncated, row.Complete = string(info.Ref), info.Lines, info.Bytes, info.Truncated, true
	l.logsEnded = true
	l.batch.PutLog(&row)
	l.publishLog(LogDone, row)
}

// finishLogs tries again to finish logs; it reports whether all are.
func (l *loop) finishLogs() error {
	for len(l.unfinished) > 0 {
		s := l.unfinished[0]
		info, err := s.w.Finish()
		if err != nil {
			return err
		}
		l.logEnded(s.row, info)
		l.unfinished = l.unfinished[1:]
	}
	return nil
}

// stepSink takes a command's output into its logs. Logs of log files come
// about when something is in them.
type stepSink struct {
	run   *buildRun
	stdio *stepLog
	step  int
	files map[string]*stepLog
}

func (s *stepSink) Output(name string, stream worker.Stream, p []byte) error {
	if name == "" {
		return s.stdio.write(stream, p)
	}
	lg := s.files[name]
	if lg == nil {
		var err error
		if lg, err = s.run.newLog(s.step, name); err != nil {
			return err
		}
		if s.files == nil {
			s.files = map[string]*stepLog{}
		}
		s.files[name] = lg
		lg.announce()
	}
	return lg.write(stream, p)
}

func (s *stepSink) finish() {
	for _, lg := range s.files {
		lg.finish()
	}
}

// endLog records a log that an earlier master left open; the log store has
// cut and finished it already.
func (l *loop) endLog(row store.Log) {
	info, err := l.opt.Logs.Stat(row.ID, logs.Ref(row.Ref))
	if err != nil {
		l.log.Warn("log of an earlier master", "log", row.ID, "err", err)
	}
	l.logEnded(row, info)
}
