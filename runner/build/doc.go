// Package build holds the values and rules of builds that need no I/O: results
// and how they combine ([Result], [Worst], [Flags]), properties with their
// source and precedence ([Properties], [Resolve]), and the interpolation of
// text ([Template]).
//
// Results and their order, step flags, the precedence of properties and the
// interpolation language are Buildbot's, with three differences in the last:
// only "%(" opens a substitution, so "date +%s" and "100%" stay as they are; a
// null value counts as missing for every operator; and values are written as
// JSON writes them (true, not True).
package build
