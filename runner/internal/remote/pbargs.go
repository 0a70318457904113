package remote

import (
	"strings"

	"bothy/runner/internal/remote/wire"
)

// pbArgs turns a command's arguments into those of Perspective Broker. Paths stay
// absolute, which the worker accepts for its relative ones. file is the name of the
// argument that stands for a file of the master's.
func pbArgs(name string, args wire.Map) (_ string, _ wire.Map, file string) {
	rename := map[string]string{}
	var more wire.Map
	switch name {
	case "rmdir":
		rename["paths"] = "dir"
	case "mkdir":
		rename["paths"] = "dir"
	case "listdir":
		rename["path"] = "dir"
	case "stat":
		rename["path"] = "file"
	case "upload_file", "upload_directory":
		rename["path"], file, more = "workersrc", "writer", wire.Map{{Key: "workdir", Value: ""}}
	case "download_file":
		rename["path"], file, more = "workerdest", "reader", wire.Map{{Key: "workdir", Value: ""}}
	}
	out := make(wire.Map, 0, len(args)+2)
	for _, f := range args {
		if to, ok := rename[f.Key]; ok {
			f.Key = to
		}
		if list, ok := f.Value.([]any); ok && name == "mkdir" && len(list) == 1 {
			f.Value = list[0] // 3.7.0 takes one only
		}
		out = append(out, f)
	}
	first, rest, ok := strings.Cut(name, "_")
	if ok { // upload_file is uploadFile
		name = first + strings.ToUpper(rest[:1]) + rest[1:]
	}
	return name, append(out, more...), file
}
