package spawn

import (
	"errors"
	"syscall"
)

const rssUnit = 1 // getrusage(2) on Darwin: bytes

// There are no cgroups on this system; hello.group is always empty.

func bornIn(*syscall.SysProcAttr, string) (int, error) { return -1, errors.ErrUnsupported }
func below([]string) map[int]bool                      { return nil }
func leafGroup(*hello, int64, int64, string) string    { return "" }
func makeLeaf(string) error                            { return errors.ErrUnsupported }
func killGroup(string) error                           { return errors.ErrUnsupported }
func removeGroup(string) bool                          { return true }
