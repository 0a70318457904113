package web

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"bothy/runner/internal/logs"
)

// What is not there is shown as not being there.
func TestLogGaps(t *testing.T) {
	r := newLogRig(t, logs.Options{MaxLogBytes: 300 << 10})
	r.log("capped", "o"+numbered(1, 10_000))
	page := r.want(where("capped")+"?from=99999", false, `<i title="something is not there">gap</i><code>… the log cap of 300 KiB is reached: more output is counted, not kept</code>`,
		"bytes more were not kept (log cap 300 KiB)", "not all was kept")
	if strings.Count(page, `class="r gap"`) != 2 {
		t.Error("not two gaps")
	}
	r.log("empty")
	r.want(where("empty"), false, "The log is empty.", "no lines")
	r.begin("begun")
	r.want(where("begun"), false, "The log is empty so far.", `<a href="?refresh=1#end">Follow</a>`)
	r.want(where("begun")+"?refresh=1", false, `<noscript><meta http-equiv="refresh" content="5"></noscript>`)

	w := r.log("damaged", "o"+numbered(1, 5_000))
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for end := time.Now().Add(time.Minute); !r.compressed(w.ID()); <-poll.C {
		if time.Now().After(end) {
			t.Fatal("the log is never compressed")
		}
	}
	file := filepath.Join(r.dir, "logs", "done", "0", strconv.FormatInt(w.ID(), 10)+".zst")
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("garbage"), 1000); err != nil {
		t.Fatal(err)
	}
	r.want(where("damaged"), false, `class="r gap"`, "the log is damaged from here on")
	r.want(where("damaged")+"/lines?from=201", true, "the log is damaged from here on")
	if status, _, body := r.get(where("damaged")+"/search?q=line", true); status != 200 || !strings.Contains(body, `"done":true`) {
		t.Errorf("searched: %d %s", status, body)
	}
}

// A log that is no longer kept says so.
func TestLogIsGone(t *testing.T) {
	r := newLogRig(t, logs.Options{})
	w := r.log("stdio", "ox\n")
	info, err := r.logs.Stat(w.ID(), "")
	if err != nil {
		t.Fatal(err)
	}
	if err := r.logs.Remove(info.Ref); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"", "/lines", "/follow", "/text", "/search?q=x"} {
		if status, _, body := r.get(where("stdio")+path, true); status != 404 || !strings.Contains(body, "no longer kept") {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	r.want("/builders/b/builds/7/log", false, "no longer kept")
}

// The stylesheet has the palette of this package.
func TestPalette(t *testing.T) {
	css, err := files.ReadFile("static/logview.css")
	if err != nil {
		t.Fatal(err)
	}
	for n := 16; n < 256; n++ {
		long := fmt.Sprintf("#%06x", paletteRGB(uint8(n)))
		if long[1] == long[2] && long[3] == long[4] && long[5] == long[6] {
			long = "#" + string([]byte{long[1], long[3], long[5]})
		}
		if want := fmt.Sprintf(".f%d{--f:%s}.b%d{--b:%s}", n, long, n, long); !strings.Contains(string(css), want) {
			t.Errorf("the stylesheet lacks %s", want)
		}
		if got := nearest(paletteRGB(uint8(n))); paletteRGB(got) != paletteRGB(uint8(n)) {
			t.Errorf("nearest to %d is %d", n, got)
		}
	}
	for rgb, want := range map[uint32]uint8{0xff8800: 208, 0x000000: 16, 0xffffff: 231, 0x808080: 244, 0x010101: 16, 0xfe0101: 196} {
		if got := nearest(rgb); got != want {
			t.Errorf("nearest to %06x is %d, want %d", rgb, got, want)
		}
	}
}
