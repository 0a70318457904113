// Package pb speaks Twisted's Perspective Broker, the protocol that Buildbot's
// masters and workers use by default, at both ends: [Client] is what a worker is,
// [Server] what a master is. After the handshake both are the same, a [Broker]
// over any connection.
//
// # Objects
//
// Both sides call methods of objects that live on the other. An [Object] of ours
// that appears in a call or an answer reaches the peer as a reference; the peer
// may then call it, until it has given back as many references as it was sent. A
// reference to an object of the peer is a [Ref]: who gets one must release it, or
// neither side can forget the object. Twisted's peers keep 1024 objects for a
// connection and then drop it.
//
// # Calls
//
// Calls to one object of ours run one after the other, in the order in which they
// came; calls to different objects run side by side. So a handler may call the
// peer and wait for the answer. Our own calls leave in the order in which they
// were made, and any number may be under way.
//
// # Limits
//
// A message has a size ([banana.Limits]), tables of references have a size, calls
// of ours without answer have a size ([Options].Window), and so has what the peer
// asked for and has not been told yet ([Options].Backlog): beyond that the
// connection is not read, which is all that TCP needs to slow the peer down.
// Memory per connection is bounded by the sum. An idle one has one goroutine and a
// buffer of 4 KiB.
//
// # Login
//
// [Login] and [Portal] carry out the challenge and response of Perspective
// Broker's "cred": MD5 of the password's MD5 and 16 random bytes. It hides the
// password from who listens, and nothing else; use TLS.
//
// # Sources
//
// twisted/spread/pb.py of Twisted 22.4.0 (MIT), buildbot/worker/protocols/pb.py
// and buildbot_worker/pb.py of Buildbot 3.7.0 for what of it is in use, and
// testdata/session.txt, which both said to each other. Caching of objects
// ("cachemessage", "decache", "uncache"), which Buildbot does not use, is answered
// as what was not understood.
package pb
