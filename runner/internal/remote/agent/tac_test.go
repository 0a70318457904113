package agent

import (
	"strings"
	"testing"
	"time"
)

// tacFile is what create-worker of Buildbot 3.7 writes, with the values given.
const tacFile = `
import os

from buildbot_worker.bot import Worker
from twisted.application import service

basedir = '.'
rotateLength = 10000000
maxRotatedFiles = 10

# if this is a relocatable tac file, get the directory containing the TAC
if basedir == '.':
    import os.path
    basedir = os.path.abspath(os.path.dirname(__file__))

application = service.Application('buildbot-worker')

buildmaster_host = 'master.example.com'
port = 9990
workername = 'ex\'1'
passwd = "p\x41s\u00e4 # no comment"  # a comment
keepalive = 60
umask = 0o22
maxdelay = 300
numcpus = None
allow_shutdown = None
maxretries = None
use_tls = 1
delete_leftover_dirs = True
proxy_connection_string = None
protocol = 'msgpack_experimental_v7'

s = Worker(buildmaster_host, port, workername, passwd, basedir,
           keepalive, umask=umask)
s.setServiceParent(application)
`

func TestTac(t *testing.T) {
	got, err := parseTac([]byte(tacFile), "/where/it/is")
	want := Tac{
		Name: "ex'1", Password: "pAsä # no comment", Master: Master{Addr: "master.example.com:9990", TLS: true},
		Protocol: Msgpack, BaseDir: "/where/it/is", Keepalive: time.Minute, Umask: 0o22, DeleteLeftoverDirs: true,
	}
	if err != nil || got != want {
		t.Errorf("%+v (%v), want %+v", got, err, want)
	}
}

func TestTacOtherForms(t *testing.T) {
	const least = "buildmaster_host = 'h'\nport = 1\nworkername = 'w'\npasswd = 'p'\n"
	for _, c := range []struct {
		name, file string
		want       Tac
	}{
		{"least", least, Tac{Name: "w", Password: "p", Master: Master{Addr: "h:1"}, Protocol: PB, BaseDir: "/d", Keepalive: DefaultKeepalive, Umask: -1}},
		{"slave", strings.Replace(least, "workername", "slavename", 1), Tac{Name: "w", Password: "p", Master: Master{Addr: "h:1"}, Protocol: PB, BaseDir: "/d", Keepalive: DefaultKeepalive, Umask: -1}},
		{"last counts", least + "passwd = r'a\\b'\r\nbasedir = u'/x'\numask = 022\n", Tac{Name: "w", Password: `a\b`, Master: Master{Addr: "h:1"}, Protocol: PB, BaseDir: "/x", Keepalive: DefaultKeepalive, Umask: 0o22}},
		{"within a text", "'''\npasswd = 'x'\n'''\n" + least, Tac{Name: "w", Password: "p", Master: Master{Addr: "h:1"}, Protocol: PB, BaseDir: "/d", Keepalive: DefaultKeepalive, Umask: -1}},
		{"not at the top", least + "if 1:\n    passwd = open('f').read()\n", Tac{Name: "w", Password: "p", Master: Master{Addr: "h:1"}, Protocol: PB, BaseDir: "/d", Keepalive: DefaultKeepalive, Umask: -1}},
		{"connection string", least + `connection_string = 'tls:host=\\:\\:1:port=7'` + "\n", Tac{Name: "w", Password: "p", Master: Master{Addr: "[::1]:7", TLS: true}, Protocol: PB, BaseDir: "/d", Keepalive: DefaultKeepalive, Umask: -1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got, err := parseTac([]byte(c.file), "/d"); err != nil || got != c.want {
				t.Errorf("%+v (%v), want %+v", got, err, c.want)
			}
		})
	}
	for _, c := range []struct{ name, file, want string }{
		{"runs code", least + "passwd = open('f').read()\n", "line 5: passwd is not a literal"},
		{"no name", "port = 1\n", "no workername"},
		{"no master", "workername = 'w'\nport = 70000\nbuildmaster_host = 'h'", "no buildmaster_host and port"},
		{"port is text", least + "port = '1'", "line 5: port is no number"},
		{"protocol", least + "protocol = 'null'", "unknown protocol"},
		{"two texts", least + "passwd = 'a' 'b'", "line 5: passwd is not a literal"},
		{"not UTF-8", "passwd = '\xff'", "not UTF-8"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got, err := parseTac([]byte(c.file), "/d"); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%+v, %v, want %q", got, err, c.want)
			}
		})
	}
}

func FuzzTac(f *testing.F) {
	f.Add(tacFile)
	f.Add("workername = '\\x4'\n")
	f.Add("port = 0x\nconnection_string = 'tcp:a:1:b=c'")
	f.Fuzz(func(t *testing.T, s string) {
		got, err := parseTac([]byte(s), "/d")
		if err == nil && (got.Name == "" || got.Master.Addr == "" || got.BaseDir == "" || got.Protocol == "") {
			t.Errorf("accepted %+v", got)
		}
	})
}

func TestParseMaster(t *testing.T) {
	for s, want := range map[string]Master{
		"host":                   {Addr: "host:9989"},
		"host:1":                 {Addr: "host:1"},
		"tcp://host:1":           {Addr: "host:1"},
		"tls://host":             {Addr: "host:9989", TLS: true},
		"::1":                    {Addr: "[::1]:9989"},
		"[::1]:5":                {Addr: "[::1]:5"},
		"ws://host/a/b":          {Addr: "host:80", Protocol: Msgpack, Path: "/a/b"},
		"https://host:8443/w/":   {Addr: "host:8443", TLS: true, Protocol: Msgpack, Path: "/w/"},
		"wss://[2001:db8::1]:99": {Addr: "[2001:db8::1]:99", TLS: true, Protocol: Msgpack},
	} {
		if got, err := ParseMaster(s); err != nil || got != want {
			t.Errorf("%q: %+v (%v), want %+v", s, got, err, want)
		}
	}
	for _, s := range []string{"", ":1", "ftp://h", "tcp://h/path", "ws://u:p@h", "h:x", "ws://h?q"} {
		if got, err := ParseMaster(s); err == nil {
			t.Errorf("%q: %+v", s, got)
		}
	}
}
