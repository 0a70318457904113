package jelly

import (
	"errors"
	"fmt"
)

// The types of expressions.
const (
	typeNone          = "None"
	typeBoolean       = "boolean"
	typeUnicode       = "unicode"
	typeList          = "list"
	typeTuple         = "tuple"
	typeSet           = "set"
	typeFrozenset     = "frozenset"
	typeDictionary    = "dictionary"
	typeReference     = "reference"
	typeDereference   = "dereference"
	typeRemote        = "remote"
	typeLocal         = "local"
	typeUnpersistable = "unpersistable"
	typeFailure       = "twisted.spread.pb.CopyableFailure"
)

// Copy is the copy of an instance of a Python class.
type Copy struct {
	Class string // dotted
	State any
}

// Unpersistable is what Python sends for something that it cannot send; it says
// why.
type Unpersistable string

// Ref is a reference as it is on the wire.
type Ref struct {
	// ID is the object's number on the side where it lives.
	ID int64
	// Theirs says that the object lives on the side that receives the value.
	Theirs bool
}

// ErrValue says that an expression is no value this package knows, or a value none
// that can be sent. The connection is as good as before.
var ErrValue = errors.New("cannot be exchanged")

func valueError(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrValue, fmt.Errorf(format, args...))
}
