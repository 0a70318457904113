// Package queue decides who runs what: which pending request starts next, and on
// which worker. It is pure data: no goroutines, no clock, no I/O; one goroutine
// owns a [Queue].
//
// # Rules
//
// The request of the highest rank that can start, starts: highest priority, then
// oldest, then lowest id. A request that cannot start holds nobody up, with two
// exceptions, which are the same rule: what a request waits for is kept from
// those of lower rank,
//
//   - locks at once: when only locks are in its way, those it lacks are kept;
//   - the room on a host, and all its locks, once it was passed over for
//     [BypassLimit]: a request of lower rank had started on a host where only room
//     was missing for it, or had taken one of its locks while it waited for
//     another. The host then drains.
//
// A need larger than the host runs alone on it. Steps that wait for locks come
// before all pending requests, first come first served. Of the workers that
// could take the request, the one with the fewest builds gets it; among equals
// the one that started a build the longest ago.
//
// # Structure
//
// Requests that differ in nothing but rank form a shape: only its first request
// is ever looked at, and those behind it wait in lines of equal priority. Shapes whose builds may run on the same workers and
// take the same locks form a group, which keeps them sorted by their first
// request. The group's workers are divided into lanes, one for each host; a lane
// has a heap of the workers that could take a build now, the least loaded
// first. So a decision walks groups in the order of their first shapes and asks
// for each shape: are the group's locks free, has a lane a worker, does its host
// have room? Each answer costs the same with one worker or a thousand, one
// request or a hundred thousand. Starting and ending a build moves one worker in
// the lanes it belongs to.
//
//	Queue ── group (workers, locks, exclusive builder)
//	           ├─ shape (need) ── line of requests by rank
//	           └─ lane (host)  ── heap of seats (a worker's place) by load
//
// A request for one worker has that worker alone as its group. When nothing can
// start this is remembered until something changes. Changes of the configuration
// (builders, locks) rebuild the index at the next call, which costs time
// proportional to what is pending.
package queue
