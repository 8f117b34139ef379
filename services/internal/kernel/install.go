package kernel

import (
	"bufio"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

//go:embed packages.txt
var packageTable string

// packageNames are the packages whose name differs from that of a module in them.
var packageNames = func() map[string]string {
	names := map[string]string{}
	for line := range strings.Lines(packageTable) {
		if f := strings.Fields(line); len(f) == 2 {
			names[f[0]] = f[1]
		}
	}
	return names
}()

// packagesOf are the packages that bring modules.
func packagesOf(modules []string) []string {
	var out []string
	for _, m := range modules {
		name := packageNames[m]
		if name == "" {
			name = m
		}
		if ValidPackage(name) && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

var packagePattern = regexp.MustCompile(`^[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?` + // a name
	`(?:\[[A-Za-z0-9](?:[A-Za-z0-9 ,._-]*[A-Za-z0-9])?\])?` + // extras
	`(?: *(?:===|==|~=|!=|<=|>=|<|>) *[A-Za-z0-9][A-Za-z0-9.*+!_-]*(?: *, *(?:===|==|~=|!=|<=|>=|<|>) *[A-Za-z0-9][A-Za-z0-9.*+!_-]*)*)?$`)

// ValidPackage says whether s names a package as an index knows it, with extras
// and versions if need be. Addresses, paths and options are no names.
func ValidPackage(s string) bool { return len(s) <= 200 && packagePattern.MatchString(s) }

// install installs packages into an environment that is there, and remembers
// them. text says what happened, for people.
func (e *Engine) install(ctx context.Context, at Place, packages []string) (text string, ok bool) {
	free, err := e.lockEnv(ctx, at)
	if err != nil {
		return "The installation was given up.", false
	}
	defer free()
	py, err := e.interpreter(ctx)
	if err != nil {
		return "Python is gone.", false
	}
	limited, cancel := context.WithTimeout(ctx, e.opt.Times.Install)
	defer cancel()
	printed, code, err := e.capture(limited, py, e.installer(at, packages), at.Dir, e.environ(at))
	switch {
	case ctx.Err() != nil:
		return "The installation was cancelled.", false
	case limited.Err() != nil:
		return fmt.Sprintf("The installation took longer than %s and was ended.\n%s", seconds(e.opt.Times.Install), ends(printed)), false
	case err != nil:
		e.opt.Log.Warn("an installer could not be started", "error", err)
		return "The installer could not be started.", false
	case code != 0 && strings.Contains(printed, "No module named pip"):
		return "There is no pip. Install it for the Python of the server (such as: apt install python3-pip), or install uv.", false
	case code != 0:
		return ends(printed), false
	}
	if err := remember(at.Env, packages); err != nil {
		e.opt.Log.Warn("installed packages could not be noted", "env", at.Env, "error", err)
	}
	return installed(printed, packages), true
}

// installer is the command to install packages: uv if it is there, else pip.
func (e *Engine) installer(at Place, packages []string) []string {
	command := []string{envPython(at.Env), "-m", "pip", "install", "--disable-pip-version-check", "--no-input",
		"--no-color", "--progress-bar", "off", "--"}
	if uv := e.lookup("uv"); uv != "" {
		command = []string{uv, "pip", "install", "--no-progress", "--color", "never", "--python", envPython(at.Env), "--"}
	}
	return append(command, packages...)
}

// installed is what people want to know of a success.
func installed(printed string, packages []string) string {
	for line := range strings.Lines(printed) {
		if strings.HasPrefix(line, "Successfully installed") {
			return strings.TrimSpace(line)
		}
	}
	return "Installed: " + strings.Join(packages, ", ")
}

// ends is the end of what a program printed.
func ends(printed string) string {
	const most = 3000
	printed = strings.TrimSpace(printed)
	if len(printed) <= most {
		return printed
	}
	from := len(printed) - most
	if i := strings.IndexByte(printed[from:], '\n'); i >= 0 {
		from += i + 1
	}
	return "…\n" + strings.ToValidUTF8(printed[from:], "")
}

// requirements is the file in an environment that names what was installed there.
const requirements = "requirements.txt"

// remembered are the packages that were installed into an environment.
func remembered(env string) []string {
	f, err := os.Open(filepath.Join(env, requirements))
	if err != nil {
		return nil
	}
	defer f.Close() //nolint:errcheck // it was only read
	var out []string
	for sc := bufio.NewScanner(f); sc.Scan() && len(out) < 500; {
		if line := strings.TrimSpace(sc.Text()); ValidPackage(line) {
			out = append(out, line)
		}
	}
	return out
}

// packageName is what two requirements for the same package share.
func packageName(requirement string) string {
	if i := strings.IndexAny(requirement, "[ =~!<>"); i >= 0 {
		requirement = requirement[:i]
	}
	return strings.NewReplacer("-", "_", ".", "_").Replace(strings.ToLower(requirement))
}

// remember notes packages; a newer requirement replaces an older one.
func remember(env string, packages []string) error {
	all := slices.DeleteFunc(remembered(env), func(old string) bool {
		return slices.ContainsFunc(packages, func(p string) bool { return packageName(p) == packageName(old) })
	})
	all = append(all, packages...)
	name := filepath.Join(env, requirements)
	part := name + ".part"
	if err := os.WriteFile(part, []byte(strings.Join(all, "\n")+"\n"), 0o644); err != nil {
		return errors.Join(err, os.Remove(part))
	}
	return os.Rename(part, name)
}
