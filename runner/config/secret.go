package config

// Secret is a value that must not be shown, or where to find it. At most one
// field is set. It prints and marshals without its value.
type Secret struct {
	Text string // the value itself, in clear
	Name string // a name the configured secret providers are asked for
	File string // a file whose content, without the final line end, is the value
	Env  string // an environment variable of the master
}

// IsZero reports whether s says nothing.
func (s Secret) IsZero() bool { return s == Secret{} }

// String says where the value comes from, never the value.
func (s Secret) String() string {
	switch {
	case s.Name != "":
		return "secret " + s.Name
	case s.File != "":
		return "file " + s.File
	case s.Env != "":
		return "environment variable " + s.Env
	case s.Text != "":
		return "(in clear)"
	}
	return "(none)"
}

// GoString is String, so that %#v shows no value either.
func (s Secret) GoString() string { return "config.Secret(" + s.String() + ")" }

// MarshalText is String: a Config written as JSON holds no passwords.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// SecretProvider is one entry of [[secrets]]: a place to look for secrets.
type SecretProvider struct {
	Kind SecretKind
	// Path is, for SecretDir, the directory with one file per secret (default
	// "secrets", relative to the configuration's directory); for SecretPass, the
	// password store (default: pass decides).
	Path   string
	Prefix string       // for SecretEnv: put before a secret's name; default none
	Vault  VaultOptions // for SecretVault
}

// SecretKind is a way to keep secrets.
type SecretKind string

// The kinds of secret provider.
const (
	SecretDir     SecretKind = "dir"     // a file per secret
	SecretEnv     SecretKind = "env"     // the master's environment
	SecretPass    SecretKind = "pass"    // the program pass
	SecretVault   SecretKind = "vault"   // HashiCorp Vault, key-value engine
	SecretSystemd SecretKind = "systemd" // systemd credentials
)

// VaultOptions says how to reach a Vault server.
type VaultOptions struct {
	Address    string // URL; required
	Mount      string // of the key-value engine; default "secret"
	APIVersion int    // of the key-value engine, 1 or 2; default 2
	Token      Secret // either this or RoleID and SecretID
	RoleID     string
	SecretID   Secret
}
