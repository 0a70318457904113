package web

import "html/template"

// icons are drawn in a square of 16 by 16, in the colour of the text. Each has a
// shape of its own: colour is never the only sign.
var icons = map[string]string{
	"success":   `<circle cx="8" cy="8" r="6.5"/><path d="m5 8.2 2.2 2.2L11 6.2"/>`,
	"warnings":  `<path d="M8 1.8 14.6 13.7H1.4Z"/><path d="M8 6.2v3.6M8 11.6v.4"/>`,
	"failure":   `<circle cx="8" cy="8" r="6.5"/><path d="m5.6 5.6 4.8 4.8m0-4.8-4.8 4.8"/>`,
	"exception": `<path d="M5.2 1.5h5.6l3.7 3.7v5.6l-3.7 3.7H5.2l-3.7-3.7V5.2Z"/><path d="M8 4.6v4.2M8 10.9v.5"/>`,
	"skipped":   `<path d="m3 4 4.5 4L3 12m5.5-8L13 8l-4.5 4"/>`,
	"retry":     `<path d="M13.4 6.5A5.7 5.7 0 1 0 13.7 9"/><path d="M13.8 2.8v3.9h-3.9"/>`,
	"cancelled": `<circle cx="8" cy="8" r="6.5"/><path d="m3.6 12.4 8.8-8.8"/>`,
	"running":   `<circle cx="8" cy="8" r="6.5" stroke-dasharray="3 2.1"/><path d="M6.6 5.4v5.2L10.8 8Z" fill="currentColor"/>`,
	"waiting":   `<circle cx="8" cy="8" r="6.5"/><path d="M8 4.4V8l2.4 1.6"/>`,

	"connected":   `<path d="M2 12.5a9 9 0 0 1 12 0M4.6 9.3a6 6 0 0 1 6.8 0" transform="translate(0 -3)"/><circle cx="8" cy="11.4" r="1.3" fill="currentColor"/>`,
	"offline":     `<path d="M2 12.5a9 9 0 0 1 12 0M4.6 9.3a6 6 0 0 1 6.8 0" transform="translate(0 -3)"/><path d="m2.5 2 11 12"/>`,
	"missing":     `<path d="M5.6 6a2.4 2.4 0 1 1 3.6 2.1c-.8.5-1.2 1-1.2 1.9M8 12.2v.4"/><circle cx="8" cy="8" r="6.7" stroke-dasharray="2 2"/>`,
	"paused":      `<path d="M5.2 3.5v9M10.8 3.5v9" stroke-width="2.6"/>`,
	"graceful":    `<path d="M3 8h8.6M8.2 4.4 11.8 8l-3.6 3.6M13.6 3v10"/>`,
	"stopped":     `<rect x="3.4" y="3.4" width="9.2" height="9.2" rx="1"/>`,
	"quarantined": `<path d="M8 1.6 13.6 4v3.8c0 3.3-2.3 5.6-5.6 6.6-3.3-1-5.6-3.3-5.6-6.6V4Z"/><path d="M8 4.9v3.6M8 10.6v.4"/>`,
	"canary":      `<path d="M8 1.6 13.6 4v3.8c0 3.3-2.3 5.6-5.6 6.6-3.3-1-5.6-3.3-5.6-6.6V4Z"/><path d="m5.6 8 1.7 1.7 3.1-3.3"/>`,
	"removed":     `<path d="M3.5 8h9"/>`,

	"hut":    `<path d="M1.5 8.4 8 2.6l6.5 5.8M3.6 7v6.4h8.8V7M6.6 13.4V9.6h2.8v3.8"/>`,
	"search": `<circle cx="7" cy="7" r="4.6"/><path d="m10.6 10.6 3.6 3.6"/>`,
	"keys":   `<rect x="1.4" y="4" width="13.2" height="8.4" rx="1.4"/><path d="M4 7h.4M6.6 7H7M9.2 7h.4M11.8 7h.4M5 9.8h6"/>`,
	"mail":   `<rect x="1.6" y="3.4" width="12.8" height="9.4" rx="1.2"/><path d="m2 4.4 6 4.4 6-4.4"/>`,
	"right":  `<path d="m6 3.6 4.4 4.4L6 12.4"/>`,
}

// icon draws one; what there is none of is a dot.
func icon(name string) template.HTML {
	shape, ok := icons[name]
	if !ok {
		shape = `<circle cx="8" cy="8" r="2"/>`
	}
	return template.HTML(`<svg class="icon" viewBox="0 0 16 16" aria-hidden="true">` + shape + `</svg>`) // a constant
}
