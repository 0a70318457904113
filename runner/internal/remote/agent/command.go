package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"bothy/runner/internal/remote/wire/msgpack"
)

// master is what a command has of the connection it was started on. Every method
// waits for as long as the master needs.
type master interface {
	// update sends what a command has to say.
	update(ctx context.Context, items []msgpack.Item) error
	// complete says that the command has ended; with failure, that it broke.
	complete(ctx context.Context, failure error) error
	// write sends a block of a file that is uploaded, or of a directory's tar.
	write(ctx context.Context, data []byte) error
	// closeFile ends an uploaded file, utime says of when it was, unpack ends a
	// directory.
	closeFile(ctx context.Context) error
	utime(ctx context.Context, accessed, modified float64) error
	unpack(ctx context.Context) error
	// read returns the next bytes of a file that is downloaded, none at its end.
	read(ctx context.Context, n int) ([]byte, error)
	closeRead(ctx context.Context) error
}

// command is a command that runs.
type command struct {
	id, name string
	args     args
	session  *session
	to       master
	out      *output
	log      *slog.Logger
	began    time.Time

	// ctx ends when the command is to end: its cause is errInterrupted, or what
	// ended the connection.
	ctx    context.Context
	cancel context.CancelCauseFunc
	// link ends with the connection, or when the master does not want to hear of
	// the command any more; until then what it has to say outlasts ctx.
	link context.Context
	hush context.CancelFunc
	over chan struct{} // closed when it has ended
}

// errInterrupted is the end of a command that the master wants ended.
var errInterrupted = errors.New("interrupted")

// interrupted reports whether the command is to end.
func (c *command) interrupted() bool { return c.ctx.Err() != nil }

// silence ends the command; the master hears no more of it.
func (c *command) silence() {
	c.hush()
	c.cancel(errDropped)
}

// errDropped is the end of a command that the master has forgotten.
var errDropped = errors.New("dropped for another command")

// kind is what a command of one name does.
type kind struct {
	class string   // buildbot-worker's name for it, for messages
	needs []string // arguments that must be there
	// prepare reads the arguments; what it returns runs. An error refuses the
	// command.
	prepare func(c *command) (run func() error, err error)
	// quick says that it is over at once. buildbot-worker ends such a command
	// before it looks at the next one, and masters start several together.
	quick bool
}

// kinds returns what this worker can do, by name.
func kinds() map[string]kind {
	shell := kind{"WorkerShellCommand", []string{"workdir", "command"}, prepareShell, false}
	upload := kind{"WorkerFileUploadCommand", []string{"path", "blocksize"}, prepareUpload, false}
	uploadDirectory := kind{"WorkerDirectoryUploadCommand", []string{"path", "blocksize"}, prepareUploadDirectory, false}
	download := kind{"WorkerFileDownloadCommand", []string{"path", "blocksize"}, prepareDownload, false}
	return map[string]kind{
		"shell":            shell,
		"uploadFile":       upload,
		"upload_file":      upload,
		"uploadDirectory":  uploadDirectory,
		"upload_directory": uploadDirectory,
		"downloadFile":     download,
		"download_file":    download,
		"mkdir":            {"MakeDirectory", []string{"paths"}, prepareMkdir, true},
		"rmdir":            {"RemoveDirectory", []string{"paths"}, prepareRmdir, false},
		"cpdir":            {"CopyDirectory", []string{"to_path", "from_path"}, prepareCpdir, false},
		"stat":             {"StatFile", []string{"path"}, prepareStat, true},
		"glob":             {"GlobPath", []string{"path"}, prepareGlob, true},
		"listdir":          {"ListDir", []string{"path"}, prepareListdir, true},
		"rmfile":           {"RemoveFile", []string{"path"}, prepareRmfile, true},
	}
}

// commandVersion is what is said of every command. 3.2: failure_reason; 3.3:
// max_lines.
const commandVersion = "3.3"

// rc says how the command ended. Output that came before must be there before.
func (c *command) rc(code int) {
	c.out.settleStreams()
	c.out.value("rc", int64(code))
}

// run runs the command to its end and tells the master.
func (c *command) run(do func() error) {
	defer close(c.over)
	err := c.guarded(do)
	if !c.interrupted() {
		c.out.value("elapsed", time.Since(c.began).Seconds())
	}
	lost := c.out.close()
	if err != nil {
		c.log.Warn("command failed", "error", err)
	}
	if lost == nil {
		lost = c.to.complete(c.link, err)
	}
	if lost != nil {
		c.log.Warn("the master was not told that the command ended", "error", lost)
		return
	}
	c.log.Debug("command ended", "took", time.Since(c.began))
}

// guarded makes an error of a panic.
func (c *command) guarded(do func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the worker has a fault: panic: %v", p)
		}
	}()
	return do()
}
