package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"anthill/gateway/edge"
	"anthill/gateway/listen"
	antonv1 "anthill/gen/anton/v1"
	"anthill/services"
)

func configFile(cfg config) finding {
	f := finding{Name: "configuration", Status: fine, Detail: "no file, " + cfg.File + " would be read"}
	if !cfg.FileRead {
		return f
	}
	f.Detail = cfg.File
	if info, err := os.Stat(cfg.File); err == nil && cfg.APIKey != "" && info.Mode().Perm()&0o077 != 0 {
		return finding{f.Name, warn, cfg.File + " can be read by others and may hold the server's key", "Run: chmod 600 " + cfg.File}
	}
	return f
}

const (
	littleSpace = 1 << 30
	noSpace     = 64 << 20
)

// home looks at the data directory without changing it.
func home(cfg config) []finding {
	const name = "data directory"
	info, err := os.Stat(cfg.Home)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return []finding{{Name: name, Status: fine, Detail: cfg.Home + " is made when the server starts"}, space(nearest(cfg.Home))}
	case err != nil:
		return []finding{{name, fail, err.Error(), "Set ANTHILL_HOME to a directory of yours."}}
	case !info.IsDir():
		return []finding{{name, fail, cfg.Home + " is no directory", "Set ANTHILL_HOME to a directory of yours."}}
	}
	f := finding{Name: name, Status: fine, Detail: cfg.Home}
	const writing, searching = 2, 1
	switch mode := info.Mode().Perm(); {
	case syscall.Access(cfg.Home, writing|searching) != nil:
		f = finding{name, fail, cfg.Home + " cannot be written to", "Run: chmod u+rwx " + cfg.Home + ", or set ANTHILL_HOME."}
	case mode&0o077 != 0:
		f = finding{name, warn, fmt.Sprintf("%s has mode %04o: others on this machine can look into it", cfg.Home, mode), "Run: chmod 700 " + cfg.Home}
	}
	return []finding{f, holder(cfg), space(cfg.Home)}
}

func holder(cfg config) finding {
	const name = "server"
	h, err := services.HolderOf(cfg.Home)
	switch {
	case err != nil:
		return finding{name, fail, err.Error(), "Check the permissions of the data directory."}
	case h == nil:
		return finding{Name: name, Status: fine, Detail: "not running; start it with 'anthill serve'"}
	case len(h.Addresses) == 0:
		return finding{Name: name, Status: fine, Detail: "just starting"}
	}
	return finding{Name: name, Status: fine, Detail: fmt.Sprintf("process %d serves %s", h.PID, strings.Join(h.Addresses, ", "))}
}

// nearest is the closest folder above that exists.
func nearest(dir string) string {
	for {
		if _, err := os.Stat(dir); err == nil || filepath.Dir(dir) == dir {
			return dir
		}
		dir = filepath.Dir(dir)
	}
}

func space(dir string) finding {
	const name = "free space"
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return finding{name, warn, fmt.Sprintf("of %s is not known: %v", dir, err), "See whether the disk is there."}
	}
	free := float64(s.Bavail) * float64(s.Bsize)
	f := finding{Name: name, Status: fine, Detail: sizeText(free)}
	switch {
	case free < noSpace:
		f.Status, f.Fix = fail, "Free some: nothing more can be written."
	case free < littleSpace:
		f.Status, f.Fix = warn, "Free some before it runs out; writes are refused then."
	}
	return f
}

// ports looks at each address that the server is to listen on.
func ports(ctx context.Context, cfg config) (list []finding) {
	for _, addr := range cfg.Listen {
		list = append(list, port(ctx, cfg, addr))
	}
	return list
}

func port(ctx context.Context, cfg config, addr string) finding {
	const name = "port"
	l, err := net.Listen("tcp", addr)
	if err == nil {
		err = l.Close()
		if err == nil {
			return finding{Name: name, Status: fine, Detail: addr + " is free"}
		}
	}
	if !errors.Is(err, syscall.EADDRINUSE) {
		return finding{name, fail, fmt.Sprintf("%s cannot be listened on: %v", addr, err), "Choose another address with ANTON_SERVER_HOST, or port with ANTON_SERVER_PORT."}
	}
	h, err := askHealth(ctx, cfg, addr)
	if err != nil {
		return finding{name, fail, addr + " is taken by another program", "Stop that program, or choose another port with ANTON_SERVER_PORT."}
	}
	return finding{Name: name, Status: fine, Detail: fmt.Sprintf("%s is served by anthill %s", addr, h.Version)}
}

// askHealth asks what answers at an address whether it is one of us.
func askHealth(ctx context.Context, cfg config, addr string) (h struct{ Status, Mode, Version string }, err error) {
	trust := &tls.Config{}
	if cfg.TLSCert != "" {
		if trust, err = trusting(cfg.TLSCert); err != nil {
			return h, err
		}
	}
	web := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{TLSClientConfig: trust, DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, cfg.scheme()+"://"+reachable(addr)+"/health", nil)
	if err != nil {
		return h, err
	}
	res, err := web.Do(req)
	if err != nil {
		return h, err
	}
	defer res.Body.Close() //nolint:errcheck // it was only read
	if err := json.NewDecoder(io.LimitReader(res.Body, 1<<20)).Decode(&h); err != nil {
		return h, err
	}
	if h.Mode != "anton" || h.Version == "" {
		return h, errors.New("it is no anthill")
	}
	return h, nil
}

// soon is when a certificate should be renewed.
const soon = 14 * 24 * time.Hour

func certificate(cfg config) []finding {
	const name = "TLS"
	if cfg.TLSCert == "" {
		return nil
	}
	c, err := listen.ReadCertificate(cfg.TLSCert, cfg.TLSKey)
	if err != nil {
		return []finding{{name, fail, err.Error(), "Set ANT_TLS_CERT and ANT_TLS_KEY to a PEM certificate chain and its key."}}
	}
	f := finding{Name: name, Status: fine, Detail: fmt.Sprintf("%s, valid until %s", cfg.TLSCert, c.Leaf.NotAfter.Format("2006-01-02"))}
	now := time.Now()
	info, err := os.Stat(cfg.TLSKey)
	switch {
	case now.After(c.Leaf.NotAfter):
		f.Status, f.Detail, f.Fix = fail, fmt.Sprintf("%s expired on %s", cfg.TLSCert, c.Leaf.NotAfter.Format("2006-01-02")), "Renew it; a running server takes the new files by itself."
	case now.Before(c.Leaf.NotBefore):
		f.Status, f.Detail, f.Fix = fail, fmt.Sprintf("%s is valid only from %s on", cfg.TLSCert, c.Leaf.NotBefore.Format(time.RFC3339)), "Check the clock, or take another certificate."
	case c.Leaf.NotAfter.Sub(now) < soon:
		f.Status, f.Fix = warn, "Renew it soon; a running server takes the new files by itself."
	case err == nil && info.Mode().Perm()&0o077 != 0:
		f.Status, f.Detail, f.Fix = warn, cfg.TLSKey+" can be read by others", "Run: chmod 600 "+cfg.TLSKey
	}
	return []finding{f}
}

// origins says which web pages may call, or why the lists cannot be used.
func origins(cfg config) finding {
	const name = "web pages"
	_, err := edge.NewPolicy(edge.Config{Listen: []string{"127.0.0.1:1"}, AllowedHosts: cfg.AllowedHosts, AllowedOrigins: cfg.AllowedOrigins,
		BasePath: cfg.BasePath, TrustedProxies: cfg.TrustedProxies})
	if err != nil {
		return finding{name, fail, strings.ReplaceAll(err.Error(), "\n", "; "), "Correct ANTHILL_ALLOWED_HOSTS, ANTHILL_ALLOWED_ORIGINS or ANTHILL_TRUSTED_PROXIES."}
	}
	also := append(append([]string{}, cfg.AllowedHosts...), cfg.AllowedOrigins...)
	if len(also) == 0 {
		return finding{Name: name, Status: fine, Detail: "only the server's own and the desktop app's may call"}
	}
	return finding{Name: name, Status: fine, Detail: "the server's own, the desktop app's and " + strings.Join(also, ", ") + " may call"}
}

func tmux(ctx context.Context) finding {
	out, err := exec.CommandContext(ctx, "tmux", "-V").Output()
	if err != nil {
		return finding{"tmux", warn, "not found: terminals will not outlive the server", "Install tmux with the system's package manager."}
	}
	return finding{Name: "tmux", Status: fine, Detail: strings.TrimSpace(string(out))}
}

func python(ctx context.Context) finding {
	const name = "python3"
	out, err := exec.CommandContext(ctx, "python3", "-c", "import platform; print(platform.python_version())").Output()
	if err != nil {
		return finding{name, warn, "not found: the agent cannot run Python", "Install python3 with the system's package manager."}
	}
	f := finding{Name: name, Status: fine, Detail: strings.TrimSpace(string(out))}
	if exec.CommandContext(ctx, "python3", "-c", "import venv, ensurepip").Run() != nil {
		f.Status, f.Fix = warn, "Install the venv module (on Debian: python3-venv): packages are installed into environments of their own."
		f.Detail += " without the module venv"
	}
	return f
}

// provider asks the services, of the running server or apart from it, who
// answers a turn and whether that works.
func provider(ctx context.Context, cfg config, probe bool, errs io.Writer) []finding {
	const name = "model provider"
	broken := func(err error) []finding {
		return []finding{{name, fail, err.Error(), "See the lines above, or set the provider with 'anthill configure'."}}
	}
	open := own
	if h, err := services.HolderOf(cfg.Home); err == nil && h == nil {
		open = apart
	}
	c, err := open(ctx, cfg, errs)
	if err != nil {
		return broken(err)
	}
	defer c.Close() //nolint:errcheck // nothing was changed
	ctx = c.with(ctx)
	set, err := antonv1.NewSettingsServiceClient(c).GetSettings(ctx, &antonv1.GetSettingsRequest{})
	if err != nil {
		return broken(c.explain(err))
	}
	f := finding{Name: name, Status: fine, Detail: fmt.Sprintf("%s, model %s", set.ProviderLabel, set.PlanningModel)}
	switch {
	case !set.ConfigReady:
		f.Status, f.Fix = fail, set.ConfigError+" Or run 'anthill configure'."
	case set.PlanningProvider == "offline":
		f.Status, f.Detail, f.Fix = warn, "none: the built-in offline provider answers from files", "Set one with 'anthill configure'."
	case probe:
		f = asked(ctx, c, f)
	}
	return []finding{f, localServers(ctx, c)}
}

func asked(ctx context.Context, c *client, f finding) finding {
	r, err := antonv1.NewSettingsServiceClient(c).ValidateSettings(ctx, &antonv1.ValidateSettingsRequest{})
	switch {
	case err != nil:
		f.Status, f.Fix = fail, c.explain(err).Error()
	case r.Status != "ok":
		f.Status, f.Detail, f.Fix = fail, f.Detail+": "+r.Detail, "Correct it with 'anthill configure'."
	default:
		f.Detail += ": " + r.Detail
	}
	return f
}

// localServers tells which model servers of this machine answer.
func localServers(ctx context.Context, c *client) finding {
	const name = "local models"
	found, err := localModels(ctx, c)
	if err != nil {
		return finding{name, warn, err.Error(), "See the lines above."}
	}
	var parts []string
	for _, kind := range localKinds {
		if n := len(found[kind.name]); n > 0 {
			parts = append(parts, fmt.Sprintf("%s has %d", kind.label, n))
		}
	}
	if parts == nil {
		return finding{Name: name, Status: fine, Detail: "neither Ollama nor LM Studio answers here"}
	}
	return finding{Name: name, Status: fine, Detail: strings.Join(parts, ", ")}
}

// localKinds are the model servers of one's own machine, as the settings name them.
var localKinds = []struct{ name, label string }{{"ollama", "Ollama"}, {"lmstudio", "LM Studio"}}

// localModels are the models that those offer, by kind.
func localModels(ctx context.Context, c *client) (map[string][]string, error) {
	list, err := antonv1.NewModelsServiceClient(c).ListModels(ctx, &antonv1.ListModelsRequest{})
	if err != nil {
		return nil, c.explain(err)
	}
	found := map[string][]string{}
	for _, m := range list.Data {
		if name, ok := strings.CutPrefix(m.Id, m.OwnedBy+"/"); ok {
			found[m.OwnedBy] = append(found[m.OwnedBy], name)
		}
	}
	return found, nil
}
