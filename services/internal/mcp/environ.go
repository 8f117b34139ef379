package mcp

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// inherited are the variables of this program's environment that servers get:
// none that could hold a key of a model or of this program.
var inherited = []string{"HOME", "USER", "LOGNAME", "SHELL", "PATH", "LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "TZ", "TERM", "TMPDIR",
	"XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME",
	"SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS",
	"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"}

// environ is the environment of a server's process, sorted: what is inherited,
// and what its entry says over that.
func (e *Engine) environ(extra map[string]string) (list []string, vars map[string]string) {
	vars = map[string]string{"PATH": "/usr/local/bin:/usr/bin:/bin"}
	for _, name := range inherited {
		if v, ok := e.opt.Getenv(name); ok && v != "" {
			vars[name] = v
		}
	}
	maps.Copy(vars, extra)
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		list = append(list, name+"="+vars[name])
	}
	return list, vars
}

// lookup finds the program of a command: by its path, from the directory in which
// it will run, or on a PATH.
func lookup(command, dir, path string) (string, error) {
	if strings.ContainsRune(command, filepath.Separator) {
		if !filepath.IsAbs(command) {
			command = filepath.Join(dir, command)
		}
		if !runnable(command) {
			return "", errors.New("its command is no program that can be run")
		}
		return command, nil
	}
	for _, at := range filepath.SplitList(path) {
		if found := filepath.Join(at, command); filepath.IsAbs(found) && runnable(found) {
			return found, nil
		}
	}
	return "", fmt.Errorf("there is no program %q on the PATH", command)
}

func runnable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}
