package config

import "slices"

// unbuilt lists what a configuration may say but nothing stands behind yet. What
// it says is read and checked all the same.
//
// find returns the places where c uses the feature.
var unbuilt = []struct {
	what string
	find func(c *Config) []*pathTo
}{
	{"a worker of this kind", func(c *Config) []*pathTo {
		return kindsOf("workers", c.Workers, func(w Worker) string { return string(w.Kind) },
			"command", "docker", "nomad", "kubernetes", "ec2")
	}},
	{"a scheduler of this kind", func(c *Config) []*pathTo {
		return kindsOf("schedulers", c.Schedulers, func(s Scheduler) string { return string(s.Kind) },
			"cron", "periodic", "git", "webhook", "files", "dependent")
	}},
	{"a report of this kind", func(c *Config) []*pathTo {
		return kindsOf("reports", c.Reports, func(r Report) string { return string(r.Kind) }, "webhook", "command")
	}},
}

// unavailable reports what c uses of the list above.
func (c *Config) unavailable(p *problems) {
	for _, u := range unbuilt {
		for _, at := range u.find(c) {
			p.errorf(at, "%s: not available in this version", u.what)
		}
	}
}

// kindsOf returns the elements of a list that are of one of the kinds.
func kindsOf[T any](key string, list []T, kind func(T) string, kinds ...string) (all []*pathTo) {
	for i := range list {
		if slices.Contains(kinds, kind(list[i])) {
			all = append(all, top(key).index(i).key("kind"))
		}
	}
	return all
}
