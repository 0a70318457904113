package osrelease_test

import (
	"fmt"
	"strings"

	"bothy/osrelease"
)

func Example() {
	const file = `NAME="Debian GNU/Linux"
ID=debian
this line is broken
VERSION_ID='12'
`
	fields, warnings, err := osrelease.Parse(strings.NewReader(file))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(fields["NAME"])
	fmt.Println(warnings[0])
	properties := osrelease.Properties(fields)
	for _, name := range []string{"os_id", "os_version_id", "os_version_codename"} {
		fmt.Println(name, properties[name])
	}
	// Output:
	// Debian GNU/Linux
	// line 3: not an assignment: no =
	// os_id debian
	// os_version_id 12
	// os_version_codename <nil>
}
