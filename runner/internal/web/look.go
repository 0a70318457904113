package web

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"strings"
)

//go:embed templates static
var files embed.FS

// look is how pages look: their templates, and the static files they name.
type look struct {
	templates *template.Template
	static    map[string]*asset // by the name with the hash
	names     map[string]string // from the plain name to that
	sum       string            // of all static files
}

// newLook panics if a file that is part of the program is wrong.
func newLook() *look {
	l := &look{static: map[string]*asset{}, names: map[string]string{}}
	if err := l.readStatic(); err != nil {
		panic(err)
	}
	fs := funcs()
	fs["static"] = l.address
	l.templates = template.Must(template.New("").Funcs(fs).ParseFS(files, "templates/*.html"))
	return l
}

// address is where a static file is, as seen from the root.
func (l *look) address(name string) (string, error) {
	hashed, ok := l.names[name]
	if !ok {
		return "", fmt.Errorf("there is no static file %q", name)
	}
	return "static/" + hashed, nil
}

// layout is what the template of that name shows.
type layout struct {
	frame
	Heading string
	Head    template.HTML // more of the head
	Main    template.HTML
	Sum     string
}

// page makes a whole page: the layout with a template in it.
func (l *look) page(name string, f frame) ([]byte, error) {
	d := layout{frame: f, Sum: l.sum}
	if f.page != nil {
		d.Heading = f.page.nav
	}
	if h, ok := f.Body.(interface{ Heading() string }); ok {
		d.Heading = h.Heading()
	}
	var main strings.Builder
	if err := l.templates.ExecuteTemplate(&main, name, f.Body); err != nil {
		return nil, err
	}
	d.Main = template.HTML(main.String()) // a template has made it
	if head := l.templates.Lookup(name + "/head"); head != nil {
		var b strings.Builder
		if err := head.Execute(&b, f.Body); err != nil {
			return nil, err
		}
		d.Head = template.HTML(b.String())
	}
	var buf bytes.Buffer
	err := l.templates.ExecuteTemplate(&buf, "layout", d)
	return buf.Bytes(), err
}
