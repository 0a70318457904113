package spawn

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"

	"bothy/runner/worker"
)

// containment on Windows is one job object per command. It is closed with the
// master, and the system then ends what is in it (KILL_ON_JOB_CLOSE).
type containment struct{ base hello }

func (c *containment) open(o Options) error {
	if o.Only != "" && o.Only != Job {
		return fmt.Errorf("method %s is not available on this system", o.Only)
	}
	c.base = hello{base: o.BaseID, epoch: o.Epoch, method: Job}
	return nil
}

func (c *containment) start(context.Context, int64) (executor, error) {
	return &jobs{hello: c.base, ev: make(chan event, 4)}, nil
}

func (c *containment) close() error { return nil }

func (c *containment) describe() Support {
	return Support{Mode: ModeJob, Method: Job, Text: []string{"each command gets a job object, which ends with the master"}}
}

// Sweep finds nothing: no job outlives its master.
func Sweep(ctx context.Context, o Options) ([]worker.Process, error) {
	return nil, errors.Join(o.check(), ctx.Err())
}

// jobs is an executor with a job object for each command.
type jobs struct {
	hello
	ev chan event
	wg sync.WaitGroup

	mu     sync.Mutex
	build  int64
	open   []*job
	closed bool
}

type job struct {
	handle windows.Handle
	step   int64
	pid    int
}

func (j *jobs) events() <-chan event          { return j.ev }
func (j *jobs) limit(int64) (at, limit int64) { return 0, 0 }
func (j *jobs) alone() bool                   { return false }

func (j *jobs) err() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.gone()
}

func (j *jobs) gone() error {
	if j.closed {
		return fmt.Errorf("%w: closed", ErrSpawner)
	}
	return nil
}

func (j *jobs) start(r *request, files []file) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.gone(); err != nil {
		return err
	}
	if j.build != r.build {
		j.release()
		j.build = r.build
	}
	cmd := &exec.Cmd{
		Path: r.path, Args: r.argv, Dir: r.dir,
		Env:    withCookie(r.env, cookie{j.base, j.epoch, r.build, r.step}),
		Stdout: files[0], Stderr: files[1],
		SysProcAttr: &syscall.SysProcAttr{CreationFlags: windows.CREATE_SUSPENDED | windows.CREATE_NEW_PROCESS_GROUP},
	}
	if r.stdin {
		cmd.Stdin = files[2]
	}
	b, err := j.launch(cmd, r.step)
	if err != nil {
		text := err.Error()
		j.wg.Go(func() { j.ev <- event{kind: failed, step: r.step, text: text, left: len(j.open) > 0} })
		return nil
	}
	j.open = append(j.open, b)
	j.wg.Go(func() { j.wait(cmd, b) })
	return nil
}

// launch starts a command that does not run until it is in its job.
func (j *jobs) launch(cmd *exec.Cmd, step int64) (*job, error) {
	handle, err := windows.CreateJobObject(nil, nil)
	if err != nil {
		return nil, fmt.Errorf("make job object: %w", err)
	}
	var limits windows.JOBOBJECT_EXTENDED_LIMIT_INFORMATION
	limits.BasicLimitInformation.LimitFlags = windows.JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE
	_, err = windows.SetInformationJobObject(handle, windows.JobObjectExtendedLimitInformation,
		uintptr(unsafe.Pointer(&limits)), uint32(unsafe.Sizeof(limits)))
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		windows.CloseHandle(handle)
		return nil, err
	}
	if err = assign(handle, uint32(cmd.Process.Pid)); err == nil {
		err = resume(uint32(cmd.Process.Pid))
	}
	if err != nil {
		cmd.Process.Kill()
		cmd.Wait()
		windows.CloseHandle(handle)
		return nil, fmt.Errorf("put process into job object: %w", err)
	}
	return &job{handle: handle, step: step, pid: cmd.Process.Pid}, nil
}

func assign(job windows.Handle, pid uint32) error {
	p, err := windows.OpenProcess(windows.PROCESS_SET_QUOTA|windows.PROCESS_TERMINATE, false, pid)
	if err != nil {
		return err
	}
	defer windows.CloseHandle(p)
	return windows.AssignProcessToJobObject(job, p)
}

// resume lets the one thread of a suspended process run.
func resume(pid uint32) error {
	list, err := windows.CreateToolhelp32Snapshot(windows.TH32CS_SNAPTHREAD, 0)
	if err != nil {
		return err
	}
	defer windows.CloseHandle(list)
	t := windows.ThreadEntry32{Size: uint32(unsafe.Sizeof(windows.ThreadEntry32{}))}
	for err = windows.Thread32First(list, &t); err == nil; err = windows.Thread32Next(list, &t) {
		if t.OwnerProcessID != pid {
			continue
		}
		h, err := windows.OpenThread(windows.THREAD_SUSPEND_RESUME, false, t.ThreadID)
		if err != nil {
			return err
		}
		defer windows.CloseHandle(h)
		_, err = windows.ResumeThread(h)
		return err
	}
	return fmt.Errorf("find thread of process %d: %w", pid, err)
}

func (j *jobs) wait(cmd *exec.Cmd, b *job) {
	cmd.Wait()
	j.mu.Lock()
	e := event{kind: exited, step: b.step, status: int64(uint32(cmd.ProcessState.ExitCode())), left: len(members(b.handle)) > 0 || len(j.open) > 1}
	e.cpu = int64(cmd.ProcessState.SystemTime() + cmd.ProcessState.UserTime())
	e.maxRSS = peak(b.handle)
	j.mu.Unlock()
	j.ev <- e
}

// stop has no kindness to offer: there is no TERM for a process without a window.
func (j *jobs) stop(s stop) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.gone(); err != nil {
		return err
	}
	e := event{kind: gone}
	for _, b := range slices.Backward(j.open) {
		for _, pid := range members(b.handle) {
			if pid != b.pid && len(e.ended) < maxEnded {
				e.ended = append(e.ended, worker.Process{PID: pid, Name: imageName(pid)})
			}
		}
		windows.TerminateJobObject(b.handle, 1)
		e.step = max(e.step, b.step)
		if s.scope == theStep {
			break
		}
	}
	e.left = s.scope == theStep && len(j.open) > 1
	open := slices.Clone(j.open)
	j.wg.Go(func() {
		for _, b := range open {
			for s.scope == theBuild && len(members(b.handle)) > 0 {
				time.Sleep(5 * time.Millisecond)
			}
		}
		if s.scope == theBuild {
			j.drop()
		}
		j.ev <- e
	})
	return nil
}

func (j *jobs) drop() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.release()
	return nil
}

func (j *jobs) release() {
	for _, b := range j.open {
		windows.CloseHandle(b.handle)
	}
	j.open = nil
}

func (j *jobs) memory(int64) (n int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, b := range j.open {
		n = max(n, peak(b.handle))
	}
	return n
}

func (j *jobs) close() error {
	j.mu.Lock()
	if j.closed {
		j.mu.Unlock()
		return nil
	}
	j.closed = true
	for _, b := range j.open {
		windows.TerminateJobObject(b.handle, 1)
	}
	j.mu.Unlock()
	go func() {
		for range j.ev { // nobody may be listening any more
		}
	}()
	j.wg.Wait()
	j.drop()
	close(j.ev)
	return nil
}

// members returns the processes in a job, at most maxEnded.
func members(job windows.Handle) []int {
	var list struct {
		assigned, listed uint32
		pids             [maxEnded]uintptr
	}
	err := windows.QueryInformationJobObject(job, windows.JobObjectBasicProcessIdList,
		uintptr(unsafe.Pointer(&list)), uint32(unsafe.Sizeof(list)), nil)
	if err != nil && !errors.Is(err, windows.ERROR_MORE_DATA) {
		return nil
	}
	pids := make([]int, min(list.listed, maxEnded))
	for i := range pids {
		pids[i] = int(list.pids[i])
	}
	return pids
}

// peak returns the most memory that a job's processes had committed together.
func peak(job windows.Handle) int64 {
	var x windows.JOBOBJECT_EXTENDED_LIMIT_INFORMATION
	if windows.QueryInformationJobObject(job, windows.JobObjectExtendedLimitInformation,
		uintptr(unsafe.Pointer(&x)), uint32(unsafe.Sizeof(x)), nil) != nil {
		return 0
	}
	return int64(x.PeakJobMemoryUsed)
}

func imageName(pid int) string {
	p, err := windows.OpenProcess(windows.PROCESS_QUERY_LIMITED_INFORMATION, false, uint32(pid))
	if err != nil {
		return ""
	}
	defer windows.CloseHandle(p)
	name := make([]uint16, windows.MAX_PATH)
	n := uint32(len(name))
	if windows.QueryFullProcessImageName(p, 0, &name[0], &n) != nil {
		return ""
	}
	return shorten(windows.UTF16ToString(name[:n]))
}
