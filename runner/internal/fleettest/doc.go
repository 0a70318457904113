// Package fleettest is the proof of remote workers with real peers: the program
// itself as master and as worker, Debian's Buildbot as either, and networks that
// fail. It holds tests and measurements only.
//
//   - plan: the same workers and builders for a master of either make
//   - ask, master, peer, mailbox: what runs, and what it is asked
//   - scenario: one scene on each pair of master and worker, compared in
//     testdata/scenarios.golden
//   - crowd: many workers, many builds
//   - network, fault: namespaces, firewalls, proxies that lose and delay
//   - speed: figures beside those of Buildbot's own master
//
// BOTHY_SOAK=1 runs the long variants.
package fleettest
