package config

import (
	"strings"
	"unicode/utf8"

	"bothy/runner/internal/auth"
)

// minPassword is the length from which on a password in clear is not called
// short. NIST SP 800-63B, section 5.1.1.2, asks for it.
const minPassword = 8 // characters

func (k *checker) checkSecrets() {
	for i := range k.c.Secrets {
		s := &k.c.Secrets[i]
		at := top("secrets").index(i)
		switch s.Kind {
		case SecretDir, SecretEnv, SecretSystemd:
		case SecretPass:
			k.ownSecret(at.key("passphrase"), s.Passphrase)
		case SecretVault:
			k.vault(at, &s.Vault)
		case "":
			k.missing(at.key("kind"), "the kind")
		default:
			oneOf(k, at.key("kind"), s.Kind, SecretDir, SecretEnv, SecretPass, SecretVault, SecretSystemd)
		}
	}
}

func (k *checker) vault(at *pathTo, v *VaultOptions) {
	if v.Address == "" {
		k.missing(at.key("address"), "the server's URL")
	} else if k.httpURL(at.key("address"), v.Address) && isCleartext(v.Address) {
		k.warnf(at.key("address"), "the token and the secrets cross the network in clear: use https")
	}
	if v.APIVersion != 1 && v.APIVersion != 2 {
		k.errorf(at.key("api_version"), "%d is not 1 or 2", v.APIVersion)
	}
	if err := CheckSecretName(strings.Trim(v.Mount, "/")); err != nil {
		k.errorf(at.key("mount"), "%q is not the path of an engine", v.Mount)
	}
	if !isOneLine(v.Namespace) {
		k.errorf(at.key("namespace"), "must be one line")
	}
	hasRole := v.RoleID != "" && !v.SecretID.IsZero()
	if hasToken := !v.Token.IsZero(); hasToken == hasRole {
		k.errorf(at.key("token"), "want either token, or role_id and secret_id")
	}
	k.ownSecret(at.key("token"), v.Token)
	k.ownSecret(at.key("secret_id"), v.SecretID)
}

// ownSecret checks a secret that a provider of secrets itself needs.
func (k *checker) ownSecret(at *pathTo, s Secret) {
	if s.Name != "" {
		k.errorf(at, "a provider cannot take its own secret from the providers: use { file = … } or { env = … }")
		return
	}
	k.secret(at, s)
}

// secret checks a value that must not be shown.
func (k *checker) secret(at *pathTo, s Secret) {
	if k.secretPlace(at, s); s.Text == "" {
		return
	}
	short := ""
	if utf8.RuneCountInString(s.Text) < minPassword {
		short = ", and shorter than 8 characters"
	}
	k.warnf(at, `in clear%s: better { secret = "…" }, { file = "…" } or { env = "…" }`, short)
}

// secretPlace checks where a value is to be found, if it is not there in clear.
func (k *checker) secretPlace(at *pathTo, s Secret) {
	switch {
	case s.Name != "" && len(k.c.Secrets) == 0:
		k.errorf(at, "secret %s cannot be found: there are no [[secrets]]", s.Name)
	case s.Name != "":
		if err := CheckSecretName(s.Name); err != nil {
			k.errorf(at, "%v", err)
		}
	case strings.Contains(s.File, "\x00"):
		k.errorf(at, "contains a NUL character")
	case strings.ContainsAny(s.Env, "=\x00"):
		k.errorf(at, "%q is not a name of an environment variable", s.Env)
	}
	if s.places() > 1 {
		k.errorf(at, "is in more than one place")
	}
}

// passwordHash checks the hash of a person's password, if it is there.
func (k *checker) passwordHash(at *pathTo, s Secret) {
	k.secretPlace(at, s)
	if s.IsZero() {
		k.errorf(at, `want a hash as printed by "bothy hash-password"`)
	} else if s.Text != "" {
		switch h, err := auth.ParseHash(s.Text); {
		case err != nil:
			k.errorf(at, `%v: want one as printed by "bothy hash-password"`, err)
		case h.IsWeak():
			k.warnf(at, `the hash is weak, passwords can be tried quickly: "bothy hash-password" makes a better one`)
		}
	}
}

// tokenSecret checks a program's token, which may be there as its SHA-256.
func (k *checker) tokenSecret(at *pathTo, s Secret) {
	switch {
	case s.IsZero():
		k.errorf(at, `the token's secret is missing: "bothy token NAME" prints one`)
	case s.Text != "" && auth.IsDigest(s.Text):
	case s.Text != "":
		k.warnf(at, `in clear: better the SHA-256 that "bothy token" prints`)
	default:
		k.secretPlace(at, s)
	}
}
