package agent

import (
	"fmt"
	"math"
	"time"

	"bothy/runner/internal/remote/wire"
)

// args are the arguments of a command. What is None counts as missing.
type args wire.Map

func (a args) get(key string) any {
	v, _ := wire.Map(a).Get(key)
	return v
}

// need checks that keys are there, whatever their values. The text is
// buildbot-worker's.
func (a args) need(class string, keys ...string) error {
	missing := ""
	for _, k := range keys {
		if _, ok := wire.Map(a).Get(k); !ok {
			if missing != "" {
				missing += ", "
			}
			missing += k
		}
	}
	if missing != "" {
		return fmt.Errorf("%s is missing args: %s", class, missing)
	}
	return nil
}

func argument[T any](a args, key string, missing T, read func(any) (T, error)) (T, error) {
	v := a.get(key)
	if v == nil {
		return missing, nil
	}
	t, err := read(v)
	if err != nil {
		return missing, fmt.Errorf("argument %q: %w", key, err)
	}
	return t, nil
}

func (a args) text(key string) (string, error) { return argument(a, key, "", wire.Text) }

func (a args) bool(key string, missing bool) (bool, error) {
	return argument(a, key, missing, wire.Bool)
}

func (a args) int(key string, missing int64) (int64, error) {
	return argument(a, key, missing, wire.Int)
}

// seconds returns a duration, 0 if it is missing or not positive.
func (a args) seconds(key string) (time.Duration, error) {
	s, err := argument(a, key, 0, wire.Float)
	if err != nil || math.IsNaN(s) || s <= 0 {
		return 0, err
	}
	return time.Duration(min(s, maxSeconds) * float64(time.Second)), nil
}

// maxSeconds is what a time.Duration holds, nearly: 290 years.
const maxSeconds = 9e9

// path returns a path, which must be there and absolute.
func (a args) path(key string) (string, error) {
	s, err := a.text(key)
	if err == nil && s == "" {
		err = fmt.Errorf("argument %q: no path", key)
	}
	return s, err
}

func (a args) paths(key string) ([]string, error) {
	return argument(a, key, nil, wire.Texts)
}
