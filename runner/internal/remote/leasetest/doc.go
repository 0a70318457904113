// Package leasetest is the proof that what runs between two Bothys outlives cuts of
// their connection: a listener of package remote, a worker of package agent, and
// between them a proxy that cuts, stalls and refuses.
package leasetest
