// Package cli is the command line: a table of verbs, their flags and their
// output. It talks to a Runner in the same process, or to a running master. It
// owns what a person sees of a run (see newDisplay); what runs, and when, is
// decided elsewhere.
package cli
