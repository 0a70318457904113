package api

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// thing is a row with a field of each kind.
type thing struct {
	n, t int64
	s    string
	b    bool
	none bool // n and s are null
	tags []string
	ids  []int64
}

func things() *resource[thing] {
	return newResource(resource[thing]{
		schema: schema{name: "thing", plural: "things", properties: true},
		fields: []field[thing]{
			{column: column{name: "n", kind: integer, null: true}, get: func(t *thing) value {
				if t.none {
					return null
				}
				return num(t.n)
			}},
			{column: column{name: "s", kind: text, null: true}, get: func(t *thing) value {
				if t.none {
					return null
				}
				return str(t.s)
			}},
			{column: column{name: "when", kind: stamp}, get: func(t *thing) value { return num(t.t) }},
			{column: column{name: "b", kind: boolean}, get: func(t *thing) value { return truth(t.b) }},
			{column: column{name: "tags", kind: texts}, get: func(t *thing) value { return strs(t.tags) }},
			{column: column{name: "ids", kind: integers}, get: func(t *thing) value { return nums(t.ids) }},
			{column: column{name: "o", kind: object}, put: func(b []byte, _ *thing, _ *query) []byte { return append(b, "{}"...) }},
		},
	})
}

var someThings = []thing{
	{n: 1, s: "one", t: 10, b: true, tags: []string{"a", "b"}, ids: []int64{1}},
	{n: 2, s: "two", t: 20, tags: []string{"b"}, ids: []int64{1, 2}},
	{n: 3, s: "three", t: 30, b: true},
	{none: true, t: 40},
	{n: 2, s: "zwei", t: 50},
}

// picked are the times of the rows that a query selects, in their order.
func picked(t *testing.T, query string) ([]int64, int64, error) {
	t.Helper()
	r := things()
	q, err := parseQuery(&r.schema, query, true)
	if err != nil {
		return nil, 0, err
	}
	p := r.apply(someThings, q)
	var got []int64
	for _, row := range p.rows {
		got = append(got, row.t)
	}
	return got, p.total, nil
}

func TestQuery(t *testing.T) {
	for _, c := range []struct {
		query string
		want  []int64 // times of the rows
		total int64
	}{
		{"", []int64{10, 20, 30, 40, 50}, 5},
		{"n=2", []int64{20, 50}, 2},
		{"n=1&n=3", []int64{10, 30}, 2},
		{"n__eq=1&n__eq=3", []int64{10, 30}, 2},
		{"n__ne=2", []int64{10, 30, 40}, 3},
		{"n__ne=1&n__ne=2", []int64{30, 40}, 2},
		{"n__lt=2", []int64{10}, 1},
		{"n__le=2", []int64{10, 20, 50}, 3},
		{"n__gt=2", []int64{30}, 1},
		{"n__ge=2", []int64{20, 30, 50}, 3},
		{"n__in=1&n__in=2", []int64{10, 20, 50}, 3},
		{"n__notin=1&n__notin=2", []int64{30, 40}, 2},
		{"n=null", []int64{40}, 1},
		{"n__ne=null", []int64{10, 20, 30, 50}, 4},
		{"n__in=null&n__in=3", []int64{30, 40}, 2},
		{"s=null", nil, 0},
		{"s__contains=w", []int64{20, 50}, 2},
		{"s__contains=on&s__contains=th", []int64{10, 30}, 2},
		{"s=", nil, 0},
		{"tags=b", []int64{10, 20}, 2},
		{"tags__contains=a", []int64{10}, 1},
		{"tags__ne=b", []int64{30, 40, 50}, 3},
		{"tags__notin=a&tags__notin=b", []int64{30, 40, 50}, 3},
		{"ids__contains=2&ids__contains=7", []int64{20}, 1},
		{"b=on", []int64{10, 30}, 2},
		{"b=TRUE", []int64{10, 30}, 2},
		{"b=0", []int64{20, 40, 50}, 3},
		{"b__ne=yes", []int64{20, 40, 50}, 3},
		{"when__ge=30&n__ge=1", []int64{30, 50}, 2},
		{"order=-when", []int64{50, 40, 30, 20, 10}, 5},
		{"order=n", []int64{40, 10, 20, 50, 30}, 5},
		{"order=-n&order=-when", []int64{30, 50, 20, 10, 40}, 5},
		{"order=b&order=s", []int64{40, 20, 50, 10, 30}, 5},
		{"limit=2", []int64{10, 20}, 5},
		{"limit=2&offset=1", []int64{20, 30}, 5},
		{"offset=4", []int64{50}, 5},
		{"offset=9", nil, 5},
		{"limit=0", nil, 5},
		{"n=2&limit=1&order=-when", []int64{50}, 2},
		{"field=when&when__gt=40", []int64{50}, 1},
		{"property=x&property=*", []int64{10, 20, 30, 40, 50}, 5},
	} {
		got, total, err := picked(t, c.query)
		if err != nil {
			t.Errorf("%s: %v", c.query, err)
			continue
		}
		if !slices.Equal(got, c.want) || total != c.total {
			t.Errorf("%s: %v of %d, want %v of %d", c.query, got, total, c.want, c.total)
		}
	}
}

func TestQueryErrors(t *testing.T) {
	for query, want := range map[string]string{
		"field=x":                           "no such field 'x'",
		"order=-x":                          "no such field 'x'",
		"order=":                            "no such field ''",
		"limit=x":                           "invalid limit",
		"limit=-1":                          "invalid limit",
		"limit=":                            "invalid limit",
		"offset=1.5":                        "invalid offset",
		"offset=-1":                         "invalid offset",
		"x=1":                               "unrecognized query parameter 'x'",
		"x__eq=1":                           "no such field 'x'",
		"n__zz=1":                           "invalid operator in 'n__zz': there is no such operator",
		"n__=1":                             "invalid operator in 'n__': there is no such operator",
		"n__lt=1&n__lt=2":                   "invalid operator in 'n__lt': it takes one value",
		"n__contains=1":                     "invalid operator in 'n__contains': the field is neither a text nor a list",
		"tags__lt=a":                        "invalid operator in 'tags__lt': the field is a list",
		"o=1":                               "invalid operator in 'o': the field cannot be filtered by",
		"n=one":                             "invalid filter value for n",
		"n__gt=":                            "invalid filter value for n__gt",
		"when=yesterday":                    "invalid filter value for when",
		"b=maybe":                           "invalid filter value for b",
		"s=%ff":                             "invalid filter value for s",
		"order=tags":                        "cannot order on field 'tags': its values have no order",
		"field=n&order=s":                   "cannot order on un-selected fields",
		"field=n&s=1":                       "cannot filter on un-selected fields",
		"a;b=1":                             "invalid query",
		"n=%zz":                             "invalid query",
		strings.Repeat("n=1&", maxParams+1): "501 query parameters",
		strings.Repeat("x", maxQuery+1):     "at most 16384 are allowed",
	} {
		_, _, err := picked(t, query)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: %v, want %s", query, err, want)
		}
	}
	r := things()
	if _, err := parseQuery(&r.schema, "n=1", false); err == nil || err.Error() != "this is not a collection" {
		t.Errorf("a filter on an item: %v", err)
	}
	if q, err := parseQuery(&r.schema, "field=s", false); err != nil || len(q.fields) != 1 {
		t.Errorf("a field of an item: %v %v", q, err)
	}
	r.properties = false
	if _, err := parseQuery(&r.schema, "property=x", true); err == nil {
		t.Error("properties of what has none")
	}
}

// A null is unequal to everything, and neither lower nor higher than anything.
func TestNullInFilters(t *testing.T) {
	for op, want := range map[operator]bool{
		opEq: false, opNe: true, opLt: false, opLe: false, opGt: false, opGe: false, opContains: false, opIn: false, opNotIn: true,
	} {
		f := filter{op: op, values: []value{str("")}}
		if got := f.match(text, null); got != want {
			t.Errorf("null %s '': %v, want %v", op, got, want)
		}
	}
}

func FuzzQuery(f *testing.F) {
	for _, s := range []string{
		"", "n=1", "n__ne=2&order=-when&limit=3&offset=1", "field=n&field=s", "tags__contains=a", "property=*", "n__zz=1", "%", "a;b", "b=yes&s__contains=%ff",
		"limit=99999999999999999999", "offset=9223372036854775807&limit=9223372036854775807", "order=-", "__=1", "n__eq__eq=1", "&&&=&=&",
	} {
		f.Add(s)
	}
	r := things()
	f.Fuzz(func(t *testing.T, raw string) {
		q, err := parseQuery(&r.schema, raw, true)
		if err != nil {
			if _, ok := err.(queryError); !ok || len(err.Error()) > 400 {
				t.Errorf("%q: %T %v", raw, err, err)
			}
			return
		}
		p := r.apply(someThings, q)
		if int64(len(p.rows)) > p.total || q.limit >= 0 && len(p.rows) > q.limit {
			t.Errorf("%q: %d rows of %d", raw, len(p.rows), p.total)
		}
		if sel := q.selection(&r.schema); len(sel.Where) != len(q.filters) || len(sel.Order) != len(q.order) {
			t.Errorf("%q: the database is asked something else: %+v", raw, sel)
		}
		for i := range p.rows {
			if b := r.append(nil, &p.rows[i], q); !validJSON(b) {
				t.Errorf("%q: %s", raw, b)
			}
		}
		// What was understood means the same when it is written down again.
		params, err := url.ParseQuery(raw)
		if err != nil {
			t.Fatalf("%q was understood: %v", raw, err)
		}
		again, err := parseQuery(&r.schema, params.Encode(), true)
		if err != nil || fmt.Sprint(again) != fmt.Sprint(q) {
			t.Errorf("%q: %v and %v, %v", raw, q, again, err)
		}
	})
}
