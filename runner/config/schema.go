package config

import (
	_ "embed" // for the schema
	"slices"
)

// schemaJSON is written by "go test -run TestSchemaIsCurrent -update".
//
//go:embed schema.json
var schemaJSON []byte

// Schema returns the JSON Schema (draft 2020-12) of bothy.toml, for editors. It
// knows keys and types; [Parse] knows the rest. The caller owns the bytes.
func Schema() []byte { return slices.Clone(schemaJSON) }
