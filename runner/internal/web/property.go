package web

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// property is a property with where it is from.
type property struct {
	Name, Value, Source string
}

// Properties are those that the configuration gives the worker, by name.
func (w *workerRow) Properties() []property {
	if w.view == nil || w.view.Conf == nil {
		return nil
	}
	var all []property
	for _, m := range []struct {
		source string
		values map[string]any
	}{{"properties", w.view.Conf.Properties}, {"default_properties", w.view.Conf.DefaultProperties}} {
		for _, name := range slices.Sorted(maps.Keys(m.values)) {
			all = append(all, property{name, valueText(m.values[name]), m.source})
		}
	}
	return all
}

// valueText is the value of a property as people write it: texts as they are,
// what has parts as JSON.
func valueText(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case bool, int, int64, float64, json.Number:
		return fmt.Sprint(v)
	}
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(b)
}

// sought is what a list is searched for: words.
func (c *call) sought() (string, error) {
	find := strings.TrimSpace(c.r.URL.Query().Get("q"))
	if len(find) > maxFind {
		return "", badRequest("more than %d bytes to search for", maxFind)
	}
	return find, nil
}

// number reads a number that an address holds: what is none, or negative, is 0.
func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 {
		return 0
	}
	return n
}
