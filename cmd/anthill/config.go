package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/spf13/viper"

	"anthill/gateway/edge"
)

// option is one setting: its key is the flag and the word in the file.
type option struct {
	key, env, usage string
	also            string // another name in the environment, second to env
	def             any
	secret          bool // no flag: command lines are visible to others
}

var options = []option{
	{key: "host", env: "ANTON_SERVER_HOST", also: "ANT_HOST", def: "127.0.0.1", usage: "address to listen on"},
	{key: "port", env: "ANTON_SERVER_PORT", also: "ANT_PORT", def: 26866, usage: "port to listen on"},
	{key: "listen", env: "ANTHILL_LISTEN", def: []string{}, usage: "further `HOST:PORT` to listen on (repeatable)"},
	{key: "home", env: "ANTHILL_HOME", def: "", usage: "data directory (default ~/.anthill)"},
	{key: "projects-dir", env: "ANTON_PROJECTS_DIR", def: "", usage: "directory of project folders (default inside the data directory)"},
	{key: "api-key", env: "ANT_API_KEY", def: "", secret: true, usage: "key that every caller must show"},
	{key: "allowed-hosts", env: "ANTHILL_ALLOWED_HOSTS", def: []string{}, usage: "further host names that clients may use (repeatable)"},
	{key: "allowed-origins", env: "ANTHILL_ALLOWED_ORIGINS", def: []string{}, usage: "further web origins that may call (repeatable)"},
	{key: "renderer-url", env: "VITE_RENDERER_URL", def: "", usage: "one more web origin that may call"},
	{key: "tls-cert", env: "ANT_TLS_CERT", def: "", usage: "`FILE` with the TLS certificate chain (PEM); the port then speaks TLS only"},
	{key: "tls-key", env: "ANT_TLS_KEY", def: "", usage: "`FILE` with the key of the TLS certificate (PEM)"},
	{key: "base-path", env: "ANTHILL_BASE_PATH", def: "", usage: "`PATH` under which a proxy shows the server, such as /anthill"},
	{key: "trusted-proxies", env: "ANTHILL_TRUSTED_PROXIES", def: []string{}, usage: "addresses and `NETWORK`s of proxies whose X-Forwarded headers count (repeatable)"},
	{key: "max-active", env: "ANT_MAX_ACTIVE_AGENTS", def: 0, usage: "terminals and agents that may run at once; 0: no limit"},
	{key: "terminal-host", env: "ANTHILL_TERMINAL_HOST", def: "auto", usage: "what runs terminals: tmux (they outlive the server), pty, or auto: tmux where there is one"},
	{key: "terminal-keep", env: "ANTHILL_TERMINAL_KEEP", def: 128, usage: "MiB kept of what each terminal prints"},
	{key: "retention", env: "ANTHILL_RETENTION", def: "", usage: "how long deleted sessions can be restored, such as 720h (default for ever)"},
	{key: "invite-max-failures", env: "ANT_INVITE_MAX_FAILURES", def: 5, usage: "wrong passwords that revoke an invite"},
	{key: "obsidian-vault", env: "ANT_OBSIDIAN_VAULT", def: "", usage: "`DIRECTORY` of the Obsidian vault that rooms are exported to"},
	{key: "open-slide-dir", env: "ANT_OPEN_SLIDE_DIR", def: "", usage: "`DIRECTORY` that rooms are exported to as slides"},
	{key: "log-level", env: "ANTHILL_LOG_LEVEL", def: "info", usage: "debug, info, warn or error"},
}

// names are what the option is called in the environment, the first first.
func (o option) names() []string {
	if o.also == "" {
		return []string{o.env}
	}
	return []string{o.env, o.also}
}

const configFlag = "config"

// addOptions declares the options once for all commands. A flag wins over the
// environment, that over the file, that over the default.
func addOptions(flags *pflag.FlagSet, v *viper.Viper) {
	flags.String(configFlag, "", "configuration `FILE` (default config.yaml in the data directory, env ANTHILL_CONFIG)")
	must(v.BindPFlag(configFlag, flags.Lookup(configFlag)))
	must(v.BindEnv(configFlag, "ANTHILL_CONFIG"))
	for _, o := range options {
		if !o.secret {
			usage := fmt.Sprintf("%s (env %s)", o.usage, strings.Join(o.names(), " or "))
			switch def := o.def.(type) {
			case string:
				flags.String(o.key, def, usage)
			case int:
				flags.Int(o.key, def, usage)
			case []string:
				flags.StringSlice(o.key, def, usage)
			}
			must(v.BindPFlag(o.key, flags.Lookup(o.key)))
		}
		must(v.BindEnv(append([]string{o.key}, o.names()...)...))
		v.SetDefault(o.key, o.def)
	}
}

// must is for bindings that fail only if this table is wrong.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

// config is what the process goes by.
type config struct {
	Listen         []string
	Home           string
	ProjectsDir    string
	APIKey         string
	AllowedHosts   []string
	AllowedOrigins []string
	TLSCert        string // absolute; empty: no TLS
	TLSKey         string
	BasePath       string
	TrustedProxies []string
	MaxActive      int
	Retention      time.Duration // 0: for ever
	TerminalHost   string        // auto, tmux or pty
	TerminalKeep   int           // MiB

	InviteMaxFailures int
	ObsidianVault     string // absolute; empty: none
	OpenSlideDir      string
	LogLevel          string
	EnvFile           string
	File              string // the configuration file, read or not
	FileRead          bool
}

// load reads the file, if there is one, and resolves the options.
func load(v *viper.Viper) (config, error) {
	user, err := os.UserHomeDir()
	if err != nil {
		return config{}, fmt.Errorf("find the home directory: %w", err)
	}
	home := v.GetString("home")
	if home == "" {
		home = filepath.Join(user, ".anthill")
	}
	file, chosen := v.GetString(configFlag), true
	if file == "" {
		file, chosen = filepath.Join(home, "config.yaml"), false
	}
	v.SetConfigFile(file)
	err = v.ReadInConfig()
	if err != nil && (chosen || !errors.Is(err, fs.ErrNotExist)) {
		return config{}, fmt.Errorf("read configuration: %w", err)
	}
	if set := v.GetString("home"); set != "" {
		home = set
	}
	fileRead := err == nil
	c := config{
		File: file, FileRead: fileRead, TrustedProxies: list(v, "trusted-proxies"),
		Home: home, ProjectsDir: v.GetString("projects-dir"), APIKey: v.GetString("api-key"),
		AllowedHosts: list(v, "allowed-hosts"), AllowedOrigins: list(v, "allowed-origins"),
		LogLevel: v.GetString("log-level"), EnvFile: filepath.Join(user, ".anton", ".env"),
	}
	if u := v.GetString("renderer-url"); u != "" {
		c.AllowedOrigins = append(c.AllowedOrigins, strings.TrimRight(u, "/"))
	}
	if c.Home, err = filepath.Abs(c.Home); err != nil {
		return config{}, err
	}
	if c.ProjectsDir == "" {
		c.ProjectsDir = filepath.Join(c.Home, "projects")
	}
	if c.ProjectsDir, err = filepath.Abs(c.ProjectsDir); err != nil {
		return config{}, err
	}
	if c.TLSCert, c.TLSKey, err = tlsFiles(v); err != nil {
		return config{}, err
	}
	if c.BasePath, err = edge.BasePath(v.GetString("base-path")); err != nil {
		return config{}, err
	}
	if c.MaxActive, err = limit(v, "max-active"); err != nil {
		return config{}, err
	}
	switch c.TerminalHost = v.GetString("terminal-host"); c.TerminalHost {
	case "auto", "tmux", "pty":
	default:
		return config{}, fmt.Errorf("terminal-host must be auto, tmux or pty, not %q", c.TerminalHost)
	}
	if c.TerminalKeep, err = limit(v, "terminal-keep"); err != nil || c.TerminalKeep == 0 {
		return config{}, cmp.Or(err, errors.New("terminal-keep must be 1 MiB or more"))
	}
	if c.InviteMaxFailures, err = limit(v, "invite-max-failures"); err != nil {
		return config{}, err
	}
	if c.Retention, err = retention(v.GetString("retention")); err != nil {
		return config{}, err
	}
	if c.ObsidianVault, err = directory(v, "obsidian-vault"); err != nil {
		return config{}, err
	}
	if c.OpenSlideDir, err = directory(v, "open-slide-dir"); err != nil {
		return config{}, err
	}
	port := v.GetInt("port")
	if s := v.GetString("port"); port < 0 || port > 65535 || s != strconv.Itoa(port) {
		return config{}, fmt.Errorf("port must be a number from 0 to 65535, not %q", s)
	}
	c.Listen = append([]string{net.JoinHostPort(v.GetString("host"), strconv.Itoa(port))}, list(v, "listen")...)
	return c, c.check()
}

// limit reads a number that is not negative.
func limit(v *viper.Viper, key string) (int, error) {
	n := v.GetInt(key)
	if s := v.GetString(key); n < 0 || n > math.MaxInt32 || s != strconv.Itoa(n) {
		return 0, fmt.Errorf("%s must be a number, 0 or more, not %q", key, s)
	}
	return n, nil
}

// directory is absolute, or empty.
func directory(v *viper.Viper, key string) (string, error) {
	if v.GetString(key) == "" {
		return "", nil
	}
	return filepath.Abs(v.GetString(key))
}

// shortestRetention keeps a slip of the pen, such as 30 for 30 days, from
// deleting everything at once.
const shortestRetention = time.Minute

func retention(text string) (time.Duration, error) {
	if text == "" || text == "0" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < shortestRetention {
		return 0, fmt.Errorf("retention must be a time of a minute or more, such as 720h, or nothing to keep all, not %q", text)
	}
	return d, nil
}

// tlsFiles are both or none.
func tlsFiles(v *viper.Viper) (cert, key string, err error) {
	cert, key = v.GetString("tls-cert"), v.GetString("tls-key")
	if (cert == "") != (key == "") {
		return "", "", errors.New("TLS needs both files: set ANT_TLS_CERT (--tls-cert) and ANT_TLS_KEY (--tls-key)")
	}
	if cert == "" {
		return "", "", nil
	}
	if cert, err = filepath.Abs(cert); err == nil {
		key, err = filepath.Abs(key)
	}
	return cert, key, err
}

// scheme is what the addresses begin with.
func (c config) scheme() string {
	if c.TLSCert != "" {
		return "https"
	}
	return "http"
}

// list reads a list that a flag repeats and an environment variable separates
// by commas or blanks.
func list(v *viper.Viper, key string) []string {
	var out []string
	for _, s := range v.GetStringSlice(key) {
		out = append(out, strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' })...)
	}
	return out
}

// check refuses to be reachable from outside without a key.
func (c config) check() error {
	for _, addr := range c.Listen {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			return fmt.Errorf("listen address %q must be HOST:PORT", addr)
		}
		if c.APIKey == "" && !loopback(host) {
			return fmt.Errorf("refusing to listen on %s without a key: anybody who reaches that address could read your files "+
				"and run the agent. Set ANT_API_KEY to a long random secret, or listen on 127.0.0.1", addr)
		}
	}
	return nil
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

func newConfig(v *viper.Viper) *cobra.Command {
	return &cobra.Command{
		Use:   "config",
		Short: "Print the configuration in force, secrets masked",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := load(v)
			if err != nil {
				return err
			}
			key := ""
			if cfg.APIKey != "" {
				key = "***"
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), `listen: [%s]
home: %s
projects-dir: %s
api-key: %q
allowed-hosts: [%s]
allowed-origins: [%s]
tls-cert: %s
tls-key: %s
base-path: %s
trusted-proxies: [%s]
max-active: %d
terminal-host: %s
terminal-keep: %d
invite-max-failures: %d
retention: %s
obsidian-vault: %s
open-slide-dir: %s
log-level: %s
provider-settings: %s
`, strings.Join(cfg.Listen, ", "), cfg.Home, cfg.ProjectsDir, key, strings.Join(cfg.AllowedHosts, ", "),
				strings.Join(cfg.AllowedOrigins, ", "), cfg.TLSCert, cfg.TLSKey, cfg.BasePath,
				strings.Join(cfg.TrustedProxies, ", "), cfg.MaxActive, cfg.TerminalHost, cfg.TerminalKeep, cfg.InviteMaxFailures, kept(cfg.Retention),
				cfg.ObsidianVault, cfg.OpenSlideDir, cfg.LogLevel, cfg.EnvFile)
			return err
		},
	}
}

// kept says how long deleted sessions are.
func kept(d time.Duration) string {
	if d == 0 {
		return "for ever"
	}
	return d.String()
}
