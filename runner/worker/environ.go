package worker

import (
	"runtime"
	"slices"
	"strings"
)

// inherited are the variables that steps inherit from a master or a worker: those
// that say where things are, and none that may be a secret.
var inherited = []string{
	"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TZ", "TMPDIR",
	"http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "all_proxy", "ALL_PROXY",
	"SSL_CERT_FILE", "SSL_CERT_DIR", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "GIT_SSL_CAINFO",
	// Windows cannot start a program without these.
	"SystemRoot", "SystemDrive", "ComSpec", "PATHEXT", "TEMP", "TMP", "USERPROFILE", "APPDATA", "LOCALAPPDATA", "ProgramData", "ProgramFiles",
}

// BaseEnv returns what steps inherit of the environment of the process they run
// under, a master or a worker: an allow-list, and the names in pass. Nothing that
// begins with "BOTHY_" is ever inherited.
func BaseEnv(environ, pass []string) []string {
	var out []string
	for _, kv := range environ {
		name, _, ok := strings.Cut(kv, "=")
		switch {
		case !ok || name == "" || OwnVariable(name):
		case strings.HasPrefix(name, "LC_"), listed(inherited, name), listed(pass, name):
			out = append(out, kv)
		}
	}
	return out
}

// OwnVariable reports whether a variable speaks to Bothy. Some of these are
// secret, and no step sees those of its master or worker.
func OwnVariable(name string) bool {
	if runtime.GOOS == "windows" {
		name = strings.ToUpper(name)
	}
	return strings.HasPrefix(name, "BOTHY_")
}

func listed(names []string, name string) bool {
	if runtime.GOOS != "windows" {
		return slices.Contains(names, name)
	}
	return slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, name) })
}
