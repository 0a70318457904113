package web_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
)

// What people do is kept: who, when, what and why.
func TestJournal(t *testing.T) {
	r := newRig(t, fleet("w1", "w2"))
	b := r.tab()
	b.open("journal")
	b.says("#live", "live")
	r.post("workers", url.Values{"do": {"pause"}, "worker": {"w1"}, "reason": {evil}})
	b.says("#list", "paused")
	b.says("#list", evil)
	r.as.set("olga", "operator")
	r.post("workers", url.Values{"do": {"pause"}, "worker": {"w2"}, "reason": {"mine"}})
	b.says("#list", "olga")
	b.type_("#who", "ana")
	b.until(`!document.querySelector("#list").innerText.includes("olga") && document.querySelector("#list").innerText.includes("ana")`)
	b.open("journal?kind=scheduler")
	b.says("#list", "Nothing of that kind happened")

	for i := range 60 { // two lines each
		for _, do := range []string{"pause", "unpause"} {
			r.post("workers/w1", url.Values{"do": {do}, "reason": {fmt.Sprint("turn ", i)}})
		}
	}
	_, page := r.get("journal?name=w1")
	if n := strings.Count(page, "<tr data-row"); n != 100 || !strings.Contains(page, "Older") {
		t.Errorf("%d lines on the first page", n)
	}
}
