package cli

import (
	"strings"

	"bothy/runner/build"
)

// style is the parameter of an SGR escape sequence, "" for none. Only the 16
// colours that every terminal has and lets people choose.
type style string

const (
	styleNone   style = ""
	styleBold   style = "1"
	styleDim    style = "2"
	styleRed    style = "1;31"
	styleGreen  style = "32"
	styleYellow style = "33"
)

func resultStyle(r build.Result) style {
	switch r {
	case build.Success:
		return styleGreen
	case build.Failure, build.Exception:
		return styleRed
	case build.Warnings, build.Retry, build.Cancelled:
		return styleYellow
	}
	return styleDim
}

// resultWord names a result in at most 9 letters.
func resultWord(r build.Result) string {
	if r == build.None {
		return "unknown"
	}
	return r.String()
}

// span is a piece of a line in one style. Its text has no control characters.
type span struct {
	style style
	text  string
}

type line []span

// width returns the columns the line takes.
func (l line) width() int {
	n := 0
	for _, s := range l {
		n += textWidth(s.text)
	}
	return n
}

// append adds the line to buf, cut to width columns (0: whole), with escape
// sequences if coloured.
func (l line) append(buf []byte, width int, coloured bool) []byte {
	whole := width <= 0 || l.width() <= width
	left := width
	for i, s := range l {
		text := s.text
		if !whole {
			if text = cut(text, left); text == s.text && i+1 < len(l) && textWidth(text) == left {
				text = cut(text+" ", left) // more follows that does not fit
			}
			left -= textWidth(text)
		}
		if coloured && s.style != styleNone && text != "" {
			buf = append(buf, "\x1b["+string(s.style)+"m"+text+"\x1b[0m"...)
		} else {
			buf = append(buf, text...)
		}
		if !whole && left <= 0 {
			break
		}
	}
	return buf
}

// row is the beginning of a line about something that has a state and a time;
// the name of the thing follows.
func row(state style, word, time string) line {
	return line{
		{state, word + strings.Repeat(" ", max(0, wordWidth-len(word)))},
		{styleNone, strings.Repeat(" ", max(1, timeWidth-len(time))) + time + "  "},
	}
}

// The columns of a row: the longest result is "cancelled", the longest time
// "59m59s".
const (
	wordWidth = 9
	timeWidth = 7
)

// below is a line that belongs to the row above it and begins under its name.
func below(text string) line {
	return line{{styleNone, strings.Repeat(" ", wordWidth+timeWidth+2)}, {styleDim, text}}
}
