// Greeter greets.
package main

import (
	"fmt"
	"os"
	"strings"

	"example.com/greeter/greet"
)

func main() {
	language, _, _ := strings.Cut(os.Getenv("LANG"), "_")
	fmt.Println(greet.In(language, strings.Join(os.Args[1:], " ")))
}
