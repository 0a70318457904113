// Package web is the page: what people see of a master, and steer it by, in a
// browser.
//
// Everything is rendered here, by html/template. A page is an entry of the table
// in pages.go; its template shows the data that its show function returns. Parts
// of it that change are panels: sections with an id and the topics they depend
// on. One stream of server-sent events tells a browser which topics have changed
// ([topics]); its script then fetches the panels that depend on them, as rendered
// here, and takes over what differs. Without script a page is what it was when it
// was loaded.
//
// What can be done is a form that posts to its own page. No address in a page is
// absolute, so that it works below any prefix, which nobody needs to tell it.
package web
