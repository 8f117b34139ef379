package services_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// rooms are the packages of the API under services/.
var rooms = []string{"access", "agents", "backup", "broadcasts", "conversations", "evidence", "exports", "files", "identity", "memory", "projects", "rooms", "scratchpads", "search", "sessions", "settings", "tasks", "terminals"}

// engines are the packages under services/internal, by what they may import of ours.
var engines = map[string][]string{
	"store":     {"store"},
	"since":     {},
	"caller":    {},
	"fault":     {},
	"events":    {"store", "events"},
	"dial":      {},
	"feed":      {"store", "events", "feed", "gen"},
	"documents": {},
	"agent":     {"store", "events", "fault", "dial", "workspace", "agent"},
	"kernel":    {"fault", "kernel"},
	"mcp":       {"agent", "dial", "workspace"},
	"workspace": {"fault", "workspace"},
	"terminal":  {"store", "events", "fault", "terminal"},
	"wire":      {"fault"},
	"usage":     {},
	"index":     {},
}

// rule says which of our packages a package may import, by path below the module.
func allowed(pkg, dep string) bool {
	under := func(path string, roots ...string) bool {
		for _, r := range roots {
			if path == r || strings.HasPrefix(path, r+"/") {
				return true
			}
		}
		return false
	}
	switch {
	case under(pkg, "cmd"):
		return under(dep, "cmd", "services", "gateway", "gen") && !under(dep, "services/internal")
	case under(pkg, "gateway"):
		return under(dep, "gateway", "gen")
	case under(pkg, "gen"):
		return under(dep, "gen")
	case pkg == "services":
		return under(dep, "services", "gen")
	case under(pkg, "services/internal"):
		name := strings.Split(strings.TrimPrefix(pkg, "services/internal/"), "/")[0]
		for _, may := range engines[name] {
			if under(dep, "services/internal/"+may) || may == "gen" && under(dep, "gen") {
				return true
			}
		}
		return false
	case under(pkg, "services"):
		name := strings.Split(strings.TrimPrefix(pkg, "services/"), "/")[0]
		return slices.Contains(rooms, name) && under(dep, "services/internal", "services/"+name, "gen")
	}
	return false
}

// TestImports enforces who may import whom, in tests too.
func TestImports(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-test", "-json=ImportPath,Imports,ForTest", "anthill/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath, ForTest string
			Imports             []string
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		bare := func(path string) string {
			path, _, _ = strings.Cut(path, " ") // "pkg [pkg.test]"
			return strings.TrimSuffix(strings.TrimPrefix(path, "anthill/"), "_test")
		}
		if strings.HasSuffix(p.ImportPath, ".test") {
			continue // the generated main of a test
		}
		seen++
		pkg := bare(p.ImportPath)
		for _, dep := range p.Imports {
			if !strings.HasPrefix(dep, "anthill/") {
				continue
			}
			if dep := bare(dep); dep != pkg && !allowed(pkg, dep) && !testStore(p.ForTest, pkg, dep) {
				t.Errorf("%s must not import %s", pkg, dep)
			}
		}
	}
	if seen < 10 {
		t.Fatalf("only %d packages were looked at", seen)
	}
}

// testStore lets the tests of anything under services/ open a real store.
func testStore(forTest, pkg, dep string) bool {
	return forTest != "" && strings.HasPrefix(pkg, "services/") && strings.HasPrefix(dep, "services/internal/store")
}
