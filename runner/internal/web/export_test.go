package web

// Tests of pages look at what is shown, not at what makes it; these are what the
// script must do in the same way.
var (
	Took    = took
	AgoText = agoText
)
