// Package jelly turns values into the expressions that Perspective Broker sends
// for them, and back. It knows the subset that Buildbot's master and workers use:
// the values of package wire, references to objects, and failures.
//
//	nil                  (None)
//	true                 (boolean "true")
//	1, 1.5               1, 1.5
//	"text"               (unicode "text")
//	[]byte("bytes")      "bytes"
//	[]any                (list …)
//	wire.Tuple           (tuple …)
//	wire.Map             (dictionary ((unicode "key") value) …)
//	*Failure             ("twisted.spread.pb.CopyableFailure" (dictionary …))
//	*Copy                ("module.Class" state)
//	Unpersistable        (unpersistable "reason")
//	an object            (remote id) where it lives here, (local id) where there
//
// What (reference n …) and (dereference n) share is read as the same value twice,
// and sets are read as lists; neither is written. Values that contain themselves
// are refused, and so are the types that Buildbot never sends: classes, functions,
// modules, instances, dates.
//
// # Sources
//
// twisted/spread/jelly.py and flavors.py of Twisted 22.4.0 (MIT), and
// testdata/session.txt of package pb.
package jelly
