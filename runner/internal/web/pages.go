package web

import (
	"net/url"

	"bothy/runner/config"
)

// page is one address of the interface, and what can be done there.
type page struct {
	path string // as http.ServeMux takes it, without a method
	name string // of its template
	nav  string // its name in the navigation; "": it is not there
	key  string // g and this key lead to it
	// show returns what the template shows: a struct in which *call is embedded.
	show func(c *call) (any, error)
	acts map[string]act // by the value of the field "do" of a form
	// serve answers GET in place of show and a template.
	serve func(c *call) error
}

// act is something that a form asks for.
type act struct {
	role config.Role
	// do returns, when it has happened, what is said about it.
	do func(c *call, f url.Values) (string, error)
}

// pages are all of them, in the order of the navigation.
func pages(s *Web) []page {
	var all []page
	for _, some := range [][]page{s.homePages(), s.workerPages(), s.builderPages(), s.buildPages(), s.artifactPages(), s.requestPages(), s.schedulerPages(), s.journalPages(), s.logPages()} {
		all = append(all, some...)
	}
	return all
}
