// Package archtest holds tests of the repository as a whole: which package may
// import which, what the top level holds, and which modules must agree.
package archtest
