package build_test

import (
	"fmt"

	"bothy/runner/build"
)

func ExampleExpand() {
	props := build.Properties{
		"os_id":               {Value: "debian", Source: "os-release"},
		"os_version_codename": {Value: nil, Source: "os-release"},
		"jobs":                {Value: 4, Source: "Worker"},
	}
	env := build.Env{Props: props}
	for _, s := range []string{
		"make -j%(prop:jobs:-1)s",
		"image:%(prop:os_id)s-%(prop:os_version_codename:-none)s",
		"%(prop:release:?|--release|--debug)s",
		"date +%s; echo 100% %%(prop:jobs)s",
		"%(prop:jobs)d",
	} {
		text, err := build.Expand(s, env)
		if err != nil {
			fmt.Println("error", err)
			continue
		}
		fmt.Println(text)
	}
	// Output:
	// make -j4
	// image:debian-none
	// --debug
	// date +%s; echo 100% %(prop:jobs)s
	// error at byte 12: want "s" after the ")" of the substitution at byte 0
}

func ExampleFlags_Apply() {
	result := build.Success
	steps := []struct {
		flags  build.Flags
		result build.Result
	}{
		{build.DefaultFlags(), build.Success},
		{build.Flags{WarnOnFailure: true}, build.Failure},
		{build.DefaultFlags(), build.Failure},
	}
	for _, s := range steps {
		var halt bool
		result, halt = s.flags.Apply(s.result, result)
		fmt.Println(result, halt)
	}
	// Output:
	// success false
	// warnings false
	// failure true
}

func ExampleResolve() {
	props, err := build.Resolve(build.Layers{
		Request:        build.Properties{"os": {Value: "any", Source: "Force Build Form"}},
		OS:             map[string]any{"os_id": "debian"},
		Worker:         map[string]any{"os": "solaris"},
		WorkerName:     "bot-solaris",
		WorkerDefaults: map[string]any{"parallel_make": 10},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, name := range []string{"os", "workername", "parallel_make", "os_id", "os_id_like"} {
		fmt.Printf("%s = %q (%s)\n", name, props[name].Text(), props[name].Source)
	}
	// Output:
	// os = "solaris" (Worker)
	// workername = "bot-solaris" (Worker)
	// parallel_make = "10" (Worker)
	// os_id = "debian" (os-release)
	// os_id_like = "" (os-release)
}
