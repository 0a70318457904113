package jelly

import (
	"bothy/runner/internal/remote/wire"
)

// Failure is a Python exception that one side tells the other about. It is an
// error.
type Failure struct {
	// Type is the exception's dotted class name, such as
	// "twisted.cred.error.UnauthorizedLogin".
	Type string
	// Value is the exception's text.
	Value string
	// Traceback is for people; most peers send none.
	Traceback string
	// Parents are the dotted names of the class and its bases. When writing, nil
	// means those of a class right below Exception.
	Parents []string
}

func (f *Failure) Error() string {
	if f.Value == "" {
		return "the peer raised " + f.Type
	}
	return "the peer raised " + f.Type + ": " + f.Value
}

// state is the dictionary that is sent for a failure. The keys are those that a
// Failure of Twisted must have to be shown, compared and raised again.
func (f *Failure) state() wire.Map {
	parents := make([]any, 0, 4)
	for _, p := range f.Parents {
		parents = append(parents, p)
	}
	if len(parents) == 0 {
		parents = append(parents, f.Type, "builtins.Exception", "builtins.BaseException", "builtins.object")
	}
	traceback := f.Traceback
	if traceback == "" {
		traceback = "Traceback unavailable\n" // as Twisted does
	}
	return wire.Map{
		{Key: "type", Value: []byte(f.Type)}, // bytes, as Twisted does
		{Key: "value", Value: f.Value},
		{Key: "parents", Value: parents},
		{Key: "traceback", Value: traceback},
		{Key: "frames", Value: []any{}},
		{Key: "stack", Value: []any{}},
		{Key: "tb", Value: nil},
		{Key: "count", Value: 0},
		{Key: "captureVars", Value: false},
		{Key: "pickled", Value: 1},
	}
}

// failure reads the state of a failure. What is missing or strange is left out:
// the failure is told about in any case.
func failure(state any) *Failure {
	f := &Failure{}
	m, _ := state.(wire.Map)
	text := func(key string) string {
		v, _ := m.Get(key)
		s, _ := wire.Text(v)
		return s
	}
	f.Type, f.Value, f.Traceback = text("type"), text("value"), text("traceback")
	if v, ok := m.Get("parents"); ok {
		f.Parents, _ = wire.Texts(v)
	}
	return f
}
