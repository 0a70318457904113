package web_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"bothy/runner"
	"bothy/runner/config"
)

// talk is a build whose logs have what a log can have.
func talk() config.Builder {
	return builder("talk",
		`printf '\033[1;32mok\033[0m building\n\033[31mred begins here\n'; seq -f 'line %g of the red part' 1 250; printf '\033[0mplain again\n'; printf 'warn: something\n' >&2; `+
			`printf '0%%\r50%%\r100%% done\n'; printf '<script>alert(1)</script> & \342\200\256gpj.exe \001\377\n'; printf 'see https://example.com/a?b=<c>.\n'; `+
			`printf '\033[38;2;255;136;0mtrue colour\033[0m \033[48;5;21;97mpalette\033[0m \033[7minverse\033[0m\n'; head -c 5000 /dev/zero | tr '\0' x; echo; echo 'main.c:7: error: expected ;' >&2; seq -f 'tail %g' 1 300`,
		"echo second; exit 1")
}

func TestLogPages(t *testing.T) {
	r := newRig(t, &config.Config{Builders: []config.Builder{talk()}})
	r.build(runner.Request{Builder: "talk"})
	const at = "builders/talk/builds/1/steps/1/logs/stdio"
	b := r.tab()
	shot := func(name string) {
		dir := os.Getenv("BOTHY_LOOK")
		if dir == "" {
			return
		}
		png, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(dir+"/"+name+".png", png, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, dark := range []bool{false, true} {
		for _, width := range []int64{390, 1280} {
			name := fmt.Sprintf("%d-%v", width, dark)
			b.looks(width, 800, dark)
			b.open(at)
			b.until(`document.querySelector("#lv").dataset.ready`)
			shot("first-" + name)
			b.open(at + "?times=absolute#L250-L262")
			b.until(`document.querySelector("#L255")`)
			shot("range-" + name)
			b.open("builders/talk/builds/1/log")
			b.until(`document.querySelector("#S1-stdio-L1")`)
			shot("build-" + name)
		}
	}
	_, html := r.get(at)
	if !strings.Contains(html, `id="L1"`) {
		t.Error(html)
	}
}
