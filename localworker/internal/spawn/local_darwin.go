package spawn

import (
	"errors"
	"syscall"
)

const rssUnit = 1 // getrusage(2) on Darwin: bytes

// There are no cgroups on this system; hello.group is always empty.

func bornIn(*syscall.SysProcAttr, string) (int, error) { return -1, errors.ErrUnsupported }
func below([]string) map[int]bool                      { return nil }
func buildGroup(string, int64) string                  { return "" }
func leafName(int64, string) string                    { return "" }
func killGroup(string) error                           { return errors.ErrUnsupported }
func removeGroup(string) bool                          { return true }
