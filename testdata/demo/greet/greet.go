// Package greet makes greetings.
package greet

import "strings"

// In returns a greeting for name in a language ("en", "de", "fr"); English when
// the language is not known. An empty name greets everybody.
func In(language, name string) string {
	word := map[string]string{"de": "Hallo", "fr": "Bonjour"}[language]
	if word == "" {
		word = "Hello"
	}
	if name = strings.TrimSpace(name); name == "" {
		name = map[string]string{"de": "alle", "fr": "tous"}[language]
	}
	if name == "" {
		name = "everybody"
	}
	return word + ", " + name + "!"
}
