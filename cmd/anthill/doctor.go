package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/viper"

	"anthill/services"
)

// A finding is one thing that the doctor looked at.
type finding struct {
	Name   string `json:"name"`
	Status string `json:"status"`        // ok, warn or fail
	Detail string `json:"detail"`        // what is
	Fix    string `json:"fix,omitempty"` // what to do, unless ok
}

const (
	fine = "ok"
	warn = "warn"
	fail = "fail"
)

// doctorFor bounds a whole examination; the longest question in it has 12 s.
const doctorFor = 30 * time.Second

func newDoctor(v *viper.Viper) *cobra.Command {
	var asJSON, noProbe bool
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Say what is present, what is missing, and what to do about it",
		Long: `Look at the configuration, the data directory, the port, the programs that the
agent uses and the model provider, with or without a running server. Nothing is
changed and no key is shown.

Each line is ok, warn (something will be missing) or fail (something cannot
work), and says what to do. The exit code is 1 if anything fails.

The provider is asked whether it takes the key, which costs nothing; --no-probe
asks nobody.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(c.Context(), doctorFor)
			defer cancel()
			findings := examine(ctx, v, !noProbe, c.ErrOrStderr())
			if err := report(c.OutOrStdout(), findings, asJSON); err != nil {
				return err
			}
			for _, f := range findings {
				if f.Status == fail {
					return exitCode(1)
				}
			}
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print the findings as JSON")
	c.Flags().BoolVar(&noProbe, "no-probe", false, "do not ask the model provider")
	return c
}

func examine(ctx context.Context, v *viper.Viper, probe bool, errs io.Writer) []finding {
	list := []finding{{Name: "version", Status: fine, Detail: fmt.Sprintf("anthill %s, %s, %s/%s",
		buildVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH)}}
	cfg, err := load(v)
	if err != nil {
		return append(list, finding{"configuration", fail, err.Error(), "Correct it; 'anthill config' prints what is in force."})
	}
	list = append(list, configFile(cfg))
	list = append(list, home(cfg)...)
	list = append(list, ports(ctx, cfg)...)
	list = append(list, certificate(cfg)...)
	list = append(list, origins(cfg), tmux(ctx), python(ctx), drivers(cfg))
	return append(list, provider(ctx, cfg, probe, errs)...)
}

func report(w io.Writer, list []finding, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(map[string]any{"findings": list})
	}
	for _, f := range list {
		if _, err := fmt.Fprintf(w, "%-4s  %-14s  %s\n", f.Status, f.Name, printable(f.Detail)); err != nil {
			return err
		}
		if f.Status != fine && f.Fix != "" {
			if _, err := fmt.Fprintf(w, "      %-14s  → %s\n", "", printable(f.Fix)); err != nil {
				return err
			}
		}
	}
	return nil
}

// drivers says whether those that somebody wrote can be used.
func drivers(cfg config) finding {
	problems := services.DriverProblems(cfg.Home)
	if len(problems) == 0 {
		return finding{Name: "drivers", Status: fine, Detail: "all drivers of agents can be used"}
	}
	return finding{"drivers", warn, strings.Join(problems, "; "), "Correct the files in the folder drivers of the data directory, or take them out."}
}
