package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// cronField is one of the five fields of a cron line.
type cronField struct {
	name   string
	low    int
	high   int
	names  []string // of the values from low on
	extras string   // letters with a meaning of their own: L, #
}

var cronFields = [5]cronField{
	{name: "minute", low: 0, high: 59},
	{name: "hour", low: 0, high: 23},
	{name: "day", low: 1, high: 31, extras: "L"},
	{name: "month", low: 1, high: 12, names: []string{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}},
	{name: "weekday", low: 0, high: 7, names: []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}, extras: "#"},
}

// checkCron returns what is wrong with a cron line: "minute hour day month
// weekday", each a list of values, ranges and steps; L is a month's last day,
// 5#3 its third Friday; @daily and its kin are short for lines.
func checkCron(spec string) error {
	short := []string{"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"}
	if strings.HasPrefix(spec, "@") {
		if !slices.Contains(short, spec) {
			return fmt.Errorf("unknown name %q: want %s", spec, strings.Join(short, ", "))
		}
		return nil
	}
	fields := strings.Fields(spec)
	if len(fields) != len(cronFields) {
		return fmt.Errorf(`%q has %d fields, want 5: minute hour day month weekday, as in "0 3 * * *"`, spec, len(fields))
	}
	for i := range cronFields {
		for item := range strings.SplitSeq(fields[i], ",") {
			if err := cronFields[i].check(item); err != nil {
				return fmt.Errorf("%s of %q: %w", cronFields[i].name, spec, err)
			}
		}
	}
	return nil
}

// check checks one element of the list in a field.
func (f *cronField) check(item string) error {
	if item == "L" && f.extras == "L" {
		return nil
	}
	values, step, stepped := strings.Cut(item, "/")
	if stepped {
		if n, err := strconv.ParseUint(step, 10, 16); err != nil || n == 0 {
			return fmt.Errorf("%q is not a step", step)
		}
	}
	if values == "*" {
		return nil
	}
	if day, nth, ok := strings.Cut(values, "#"); ok && f.extras == "#" && !stepped {
		if _, err := f.value(day); err != nil {
			return err
		}
		if len(nth) != 1 || nth[0] < '1' || nth[0] > '5' {
			return fmt.Errorf("%q is not between 1 and 5", nth)
		}
		return nil
	}
	from, to, ranged := strings.Cut(values, "-")
	low, err := f.value(from)
	if err != nil || !ranged {
		return err
	}
	high, err := f.value(to)
	if err == nil && high < low {
		err = fmt.Errorf("%q runs backwards", values)
	}
	return err
}

func (f *cronField) value(s string) (int, error) {
	if i := slices.Index(f.names, strings.ToLower(s)); i >= 0 {
		return f.low + i, nil
	}
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || int(n) < f.low || int(n) > f.high {
		return 0, fmt.Errorf("%q is not between %d and %d", s, f.low, f.high)
	}
	return int(n), nil
}
