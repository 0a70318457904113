package api

import (
	"context"
	"encoding/xml"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"bothy/runner/build"
	"bothy/runner/internal/store"
)

// outcome is the latest that is known of a builder.
type outcome struct {
	last    *store.ListedBuild // the latest that is complete; nil: none
	running bool
}

// outcomeOf reads a builder's latest builds. Those that were lost say nothing.
func (a *API) outcomeOf(ctx context.Context, builder int64) (o outcome, err error) {
	running, err := a.Store.SelectBuilds(ctx, store.Select{Where: []store.Cond{is("builderid", builder), is("complete", false)}, Limit: 1})
	if err != nil {
		return o, err
	}
	o.running = len(running.Rows) > 0
	last, err := a.Store.SelectBuilds(ctx, store.Select{
		Where: []store.Cond{
			is("builderid", builder), is("complete", true), {Field: "results", Op: store.Ne, Values: []any{int64(build.Retry)}},
		},
		Order: []store.Sort{{Field: "number", Desc: true}}, Limit: 1,
	})
	if len(last.Rows) > 0 {
		o.last = &last.Rows[0]
	}
	return o, err
}

// badgeColours are those of shields.io's flat badges.
var badgeColours = map[build.Result]string{
	build.Success: "#4c1", build.Warnings: "#dfb317", build.Failure: "#e05d44", build.Skipped: "#9f9f9f",
	build.Exception: "#9b59b6", build.Cancelled: "#9f9f9f",
}

// serveBadge draws the state of a builder: /badges/BUILDER.svg.
func (a *API) serveBadge(w http.ResponseWriter, r *http.Request) {
	name, isSVG := strings.CutSuffix(r.PathValue("file"), ".svg")
	id, known := a.names().builderIDs[name]
	if !isSVG || !known {
		a.writeError(w, r, notFound("there is no builder %q; badges are /badges/BUILDER.svg", shown(name)))
		return
	}
	ans, err := a.cache.get(r.Context(), "badge "+name, a.version, func(ctx context.Context) (*answer, error) {
		o, err := a.outcomeOf(ctx, id)
		if err != nil {
			return nil, err
		}
		word, colour := "no builds", "#9f9f9f"
		if o.last != nil {
			word, colour = o.last.Result.String(), badgeColours[o.last.Result]
		}
		if o.running {
			word += ", building"
		}
		return a.etags.answer("image/svg+xml; charset=utf-8", drawBadge(name, word, colour)), nil
	})
	if err != nil {
		a.writeError(w, r, err)
		return
	}
	a.write(w, r, ans)
}

// drawBadge writes two words side by side. Widths are estimates, and the text is
// fitted to them, so that no font has to be known.
func drawBadge(left, right, colour string) []byte {
	const perLetter, margin = 7, 10
	width := func(s string) int { return perLetter*utf8.RuneCountInString(s) + margin }
	l, r := width(left), width(right)
	part := func(x, w int, s string) string {
		return fmt.Sprintf(`<text x="%d" y="14" textLength="%d">%s</text>`, x+w/2, w-margin, html.EscapeString(s))
	}
	return fmt.Appendf(nil, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="20" role="img" aria-label="%s">`+
		`<title>%s</title><rect width="%d" height="20" rx="3" fill="#555"/><rect x="%d" width="%d" height="20" rx="3" fill="%s"/>`+
		`<rect x="%d" width="4" height="20" fill="%s"/>`+
		`<g fill="#fff" text-anchor="middle" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">%s%s</g></svg>`+"\n",
		l+r, html.EscapeString(left+": "+right), html.EscapeString(left+": "+right), l+r, l, r, colour, l, colour,
		part(0, l, left), part(l, r, right))
}

// ccProject is a builder as CCTray and its kin read it
// (cctray.org/v1, the format of CruiseControl).
type ccProject struct {
	Name     string `xml:"name,attr"`
	Activity string `xml:"activity,attr"`
	Status   string `xml:"lastBuildStatus,attr"`
	Label    string `xml:"lastBuildLabel,attr"`
	Time     string `xml:"lastBuildTime,attr"`
	URL      string `xml:"webUrl,attr"`
}

// serveCC answers with the state of all configured builders.
func (a *API) serveCC(w http.ResponseWriter, r *http.Request) {
	ans, err := a.cache.get(r.Context(), "cc.xml", a.version, func(ctx context.Context) (*answer, error) {
		var all struct {
			XMLName  xml.Name    `xml:"Projects"`
			Projects []ccProject `xml:"Project"`
		}
		for _, b := range a.names().builderRows {
			if b.conf == nil {
				continue
			}
			o, err := a.outcomeOf(ctx, b.ID)
			if err != nil {
				return nil, err
			}
			all.Projects = append(all.Projects, a.ccProject(b.Builder, o))
		}
		data, err := xml.MarshalIndent(all, "", "  ")
		if err != nil {
			return nil, err
		}
		return a.etags.answer("application/xml; charset=utf-8", append([]byte(xml.Header), append(data, '\n')...)), nil
	})
	if err != nil {
		a.writeError(w, r, err)
		return
	}
	a.write(w, r, ans)
}

func (a *API) ccProject(b store.Builder, o outcome) ccProject {
	p := ccProject{Name: b.Name, Activity: "Sleeping", Status: "Unknown", URL: a.config().URL + "builders/" + url.PathEscape(b.Name)}
	if o.running {
		p.Activity = "Building"
	}
	if o.last == nil {
		return p
	}
	p.Label, p.Time = strconv.FormatInt(o.last.Number, 10), o.last.Completed.UTC().Format(time.RFC3339)
	switch o.last.Result {
	case build.Success, build.Warnings:
		p.Status = "Success"
	case build.Failure:
		p.Status = "Failure"
	case build.Exception:
		p.Status = "Exception"
	}
	return p
}
