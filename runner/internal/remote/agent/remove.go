package agent

import (
	"os"
	"path/filepath"
	"runtime"

	"bothy/runner/internal/remote/wire"
)

// fileTimeout is that of the programs that remove and copy, in seconds.
const fileTimeout = int64(120)

// tool returns a process for one of the system's programs.
func (c *command) tool(argv ...string) (*process, error) {
	a := c.args
	if _, ok := wire.Map(a).Get("timeout"); !ok {
		a = append(a[:len(a):len(a)], wire.Field{Key: "timeout", Value: fileTimeout})
	}
	dir := c.session.a.o.BaseDir
	env, err := environ(c.session.a.o.Environ, nil, dir)
	if err != nil {
		return nil, err
	}
	p := &process{timeout: a.get("timeout"), maxTime: a.get("maxTime"), logs: "{}", out: true, err: true, silent: true}
	p.words(words{real: argv, shown: argv}, env)
	p.cmd.Dir = dir
	if err := p.readLimits(a); err != nil {
		return nil, err
	}
	return p, p.show(a)
}

func prepareRmdir(c *command) (func() error, error) {
	paths, err := c.args.paths("paths")
	if err != nil {
		return nil, err
	}
	if _, err := c.tool("rm"); err != nil {
		return nil, err
	}
	return func() error {
		rc := 0
		for _, p := range paths {
			code, err := c.remove(p)
			if err != nil {
				return err
			}
			if code != 0 {
				rc = code
			}
			if c.interrupted() {
				break
			}
		}
		c.rc(rc)
		return nil
	}, nil
}

// remove removes a file or a directory with all that is in it.
func (c *command) remove(path string) (code int, err error) {
	if runtime.GOOS == "windows" {
		if err := os.RemoveAll(path); err != nil {
			c.out.header("exception from rmdirRecursive\n" + err.Error() + "\n")
			return -1, nil
		}
		return 0, nil
	}
	if code, err = c.runTool("rm", "-rf", path); code == 0 || err != nil || c.interrupted() {
		return code, err
	}
	// Directories without permissions withstand it.
	if code, err = c.runTool("chmod", "-Rf", "u+rwx", path); err != nil || c.interrupted() {
		return code, err
	}
	return c.runTool("rm", "-rf", path)
}

func (c *command) runTool(words ...string) (int, error) {
	p, err := c.tool(words...)
	if err != nil {
		return -1, err
	}
	return c.execute(p)
}

func prepareCpdir(c *command) (func() error, error) {
	from, err := c.args.path("from_path")
	if err != nil {
		return nil, err
	}
	to, err := c.args.path("to_path")
	if err != nil {
		return nil, err
	}
	if _, err := c.tool("cp"); err != nil {
		return nil, err
	}
	return func() error {
		if runtime.GOOS == "windows" {
			if err := os.CopyFS(to, os.DirFS(from)); err != nil {
				c.out.header("exception from copytree\n" + err.Error() + "\n")
				c.rc(-1)
				return nil
			}
			c.rc(0)
			return nil
		}
		if err := os.MkdirAll(filepath.Dir(to), 0o777); err != nil {
			return c.outcome("cpdir", to, err)
		}
		code, err := c.runTool("cp", "-R", "-P", "-p", "-v", from, to)
		if err == nil {
			c.rc(code)
		}
		return err
	}, nil
}
