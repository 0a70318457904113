// Bothy is a build runner in one program: a master and any number of workers in
// it, sized by what this machine really grants.
package main

import (
	"context"
	"os"

	"bothy/runner"
	"bothy/runner/cli"
)

func main() {
	runner.Helper() // a re-executed helper process ends here
	os.Exit(cli.Main(context.Background(), os.Args[1:], cli.ProcessEnv()))
}
