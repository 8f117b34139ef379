package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/viper"
	"golang.org/x/term"
	"google.golang.org/protobuf/types/known/structpb"

	antonv1 "anthill/gen/anton/v1"
)

// choice is what the user wants; nil and empty leave what is there.
type choice struct {
	provider, model, baseURL string
	key                      *string
}

func newConfigure(v *viper.Viper) *cobra.Command {
	var want choice
	var keyStdin, noProbe bool
	c := &cobra.Command{
		Use:   "configure",
		Short: "Choose who answers: the model provider, its key and the model",
		Long: `Choose the model provider, its key, its address and the model; at a terminal by
questions, else by flags. A running server goes by it from the next turn on.

Keys are typed without being shown, or read from standard input, and kept in
~/.anton/.env, which only you can read. Then the provider is asked whether it
takes the key, which costs nothing; the exit code is 1 if it does not.`,
		Example: `  anthill configure
  anthill configure --provider ollama --model qwen3
  anthill configure --provider openai --key-stdin < key.txt
  anthill configure --provider openai-compatible --base-url https://models.example/v1 --model large`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := load(v)
			if err != nil {
				return err
			}
			services, err := own(c.Context(), cfg, c.ErrOrStderr())
			if err != nil {
				return err
			}
			defer services.Close() //nolint:errcheck // what was saved is on disk
			s := session{client: services, ctx: services.with(c.Context()), cfg: cfg, out: c.OutOrStdout(), in: bufio.NewReader(c.InOrStdin())}
			stdin, isFile := c.InOrStdin().(*os.File)
			switch {
			case keyStdin:
				err = s.readKey(&want)
			case want == (choice{}) && isFile && term.IsTerminal(int(stdin.Fd())):
				want, err = s.at(stdin)
			case want == (choice{}):
				err = errors.New("standard input is no terminal: say what you want by flags, such as --provider")
			}
			if err != nil {
				return err
			}
			return s.apply(want, !noProbe)
		},
	}
	c.Flags().StringVar(&want.provider, "provider", "", "`NAME` of the provider, such as openai, anthropic, ollama, openai-compatible or offline")
	c.Flags().StringVar(&want.model, "model", "", "model to ask for (default the one recommended)")
	c.Flags().StringVar(&want.baseURL, "base-url", "", "`URL` of the provider's API, where it is not the usual one")
	c.Flags().BoolVar(&keyStdin, "key-stdin", false, "read the key from standard input")
	c.Flags().BoolVar(&noProbe, "no-probe", false, "do not ask the provider")
	completeFlags(c, map[string]cobra.CompletionFunc{
		"provider": complete(v, new(string), providerNames),
		"model":    complete(v, new(string), modelNames),
		"base-url": cobra.NoFileCompletions,
	})
	return c
}

// session is one run of configure.
type session struct {
	*client
	ctx      context.Context
	cfg      config
	in       *bufio.Reader
	out      io.Writer
	terminal *os.File // nil: there is nobody to ask
}

// maxKey bounds what is read as a key.
const maxKey = 4096

// readKey takes the first line of standard input as the key.
func (s *session) readKey(want *choice) error {
	line, err := bufio.NewReader(io.LimitReader(s.in, maxKey)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read the key: %w", err)
	}
	key := strings.TrimSpace(line)
	if key == "" {
		return errors.New("there is no key on standard input")
	}
	want.key = &key
	return nil
}

// apply saves what is wanted, says what is in force then, and asks the provider.
func (s *session) apply(want choice, probe bool) error {
	settings := antonv1.NewSettingsServiceClient(s)
	before, err := settings.GetSettings(s.ctx, &antonv1.GetSettingsRequest{})
	if err != nil {
		return s.explain(err)
	}
	if want.provider == "" {
		want.provider = current(before)
	}
	if !slices.Contains(before.ProviderTypes, want.provider) {
		return fmt.Errorf("unknown provider %q: choose one of %s", want.provider, strings.Join(before.ProviderTypes, ", "))
	}
	if want.provider != current(before) || want.key != nil || want.baseURL != "" {
		list, err := accounts(before, want)
		if err == nil {
			_, err = settings.UpdateSettings(s.ctx, &antonv1.UpdateSettingsRequest{Providers: list})
		}
		if err != nil {
			return s.explain(err)
		}
	}
	if want.model != "" {
		_, err := settings.UpdateSettings(s.ctx, &antonv1.UpdateSettingsRequest{PlanningModel: &want.model, CodingModel: &want.model})
		if err != nil {
			return s.explain(err)
		}
	}
	after, err := settings.GetSettings(s.ctx, &antonv1.GetSettingsRequest{})
	if err != nil {
		return s.explain(err)
	}
	return s.conclude(want, after, probe)
}

// current is the type of the provider that is in use.
func current(set *antonv1.Settings) string {
	for _, p := range set.Providers {
		if p.IsDefault {
			return p.Type
		}
	}
	return set.PlanningProvider
}

// accounts are those that there are, unchanged, and the wanted one as default.
func accounts(set *antonv1.Settings, want choice) (*structpb.ListValue, error) {
	chosen := map[string]any{"type": want.provider, "isDefault": true}
	if want.key != nil {
		chosen["apiKey"] = *want.key
	}
	if want.baseURL != "" {
		chosen["baseUrl"] = want.baseURL
	}
	list := []any{}
	for _, p := range set.Providers {
		if p.Type == want.provider {
			if p.Name != "" {
				chosen["name"] = p.Name
			}
			continue
		}
		list = append(list, map[string]any{"type": p.Type, "name": p.Name, "isDefault": false})
	}
	return structpb.NewList(append(list, chosen))
}

// conclude says what is in force and whether it works.
func (s *session) conclude(want choice, set *antonv1.Settings, probe bool) error {
	if _, err := fmt.Fprintf(s.out, "%s answers, with the model %s. Saved in %s.\n", set.ProviderLabel, printable(set.PlanningModel), s.cfg.EnvFile); err != nil {
		return err
	}
	switch {
	case current(set) != want.provider:
		return fmt.Errorf("%s was saved, but the environment chooses another provider: unset ANTON_PLANNING_PROVIDER where the server is started", want.provider)
	case !set.ConfigReady:
		return errors.New(set.ConfigError)
	case !probe:
		return nil
	}
	r, err := antonv1.NewSettingsServiceClient(s).ValidateSettings(s.ctx, &antonv1.ValidateSettingsRequest{})
	if err != nil {
		return s.explain(err)
	}
	if r.Status != "ok" {
		return fmt.Errorf("it does not work yet: %s", r.Detail)
	}
	_, err = fmt.Fprintf(s.out, "It works: %s\n", r.Detail)
	return err
}

// at asks at a terminal. Ctrl-C ends the program there and then, and lets the
// terminal show again what is typed.
func (s *session) at(terminal *os.File) (choice, error) {
	s.terminal = terminal
	state, err := term.GetState(int(terminal.Fd()))
	if err != nil {
		return choice{}, fmt.Errorf("terminal: %w", err)
	}
	unhook := context.AfterFunc(s.ctx, func() {
		if err := term.Restore(int(terminal.Fd()), state); err != nil {
			os.Exit(1)
		}
		os.Exit(130)
	})
	defer unhook()
	return s.ask()
}

// ask finds out what is wanted.
func (s *session) ask() (want choice, err error) {
	set, err := antonv1.NewSettingsServiceClient(s).GetSettings(s.ctx, &antonv1.GetSettingsRequest{})
	if err != nil {
		return want, s.explain(err)
	}
	local, err := localModels(s.ctx, s.client)
	if err != nil {
		return want, err
	}
	if want.provider, err = s.askProvider(set, local); err != nil {
		return want, err
	}
	if want.provider == "offline" {
		return want, nil
	}
	has := func(p *antonv1.SettingsProvider) bool { return p.Type == want.provider }
	known := &antonv1.SettingsProvider{}
	if i := slices.IndexFunc(set.Providers, has); i >= 0 {
		known = set.Providers[i]
	}
	_, isLocal := local[want.provider]
	isLocal = isLocal || slices.ContainsFunc(localKinds, func(k struct{ name, label string }) bool { return k.name == want.provider })
	if want.provider == "openai-compatible" {
		if want.baseURL, err = s.line("Address of its API", known.BaseUrl); err != nil {
			return want, err
		}
	}
	if !isLocal {
		if want.key, err = s.secret(known.ApiKey != "", want.provider == "openai-compatible"); err != nil {
			return want, err
		}
	}
	want.model, err = s.askModel(set, want.provider, local[want.provider])
	return want, err
}

func (s *session) askProvider(set *antonv1.Settings, local map[string][]string) (string, error) {
	if err := s.say("Who shall answer?\n"); err != nil {
		return "", err
	}
	def := 1
	for i, name := range set.ProviderTypes {
		note := ""
		if n := len(local[name]); n > 0 {
			note = fmt.Sprintf("  runs here, with %d models", n)
		}
		if name == current(set) {
			note, def = note+"  (as now)", i+1
		}
		if err := s.say("  %d  %s%s\n", i+1, set.ProviderTypeLabels[name], note); err != nil {
			return "", err
		}
	}
	for {
		answer, err := s.line("Number or name", strconv.Itoa(def))
		if err != nil {
			return "", err
		}
		if n, err := strconv.Atoi(answer); err == nil && n >= 1 && n <= len(set.ProviderTypes) {
			return set.ProviderTypes[n-1], nil
		}
		for _, name := range set.ProviderTypes {
			if strings.EqualFold(answer, name) || strings.EqualFold(answer, set.ProviderTypeLabels[name]) {
				return name, nil
			}
		}
		if err := s.say("There is no %q.\n", answer); err != nil {
			return "", err
		}
	}
}

// askModel offers the models that are known, the recommended one first.
func (s *session) askModel(set *antonv1.Settings, provider string, offered []string) (string, error) {
	def := ""
	if provider == current(set) {
		def = set.PlanningModel
	}
	names := offered
	if len(names) == 0 {
		for _, v := range set.RecommendedModels[provider].GetValues() {
			names = append(names, v.GetStringValue())
		}
	}
	if def == "" && len(names) > 0 {
		def = names[0]
	}
	if pair := set.RecommendedPair[provider].GetValues(); len(pair) > 0 && pair[0].GetStringValue() != "" && provider != current(set) {
		def = pair[0].GetStringValue()
	}
	if len(names) > 0 {
		if err := s.say("Models: %s\n", strings.Join(names, ", ")); err != nil {
			return "", err
		}
	}
	return s.line("Model", def)
}

// line asks for one line; an empty one is def.
func (s *session) line(question, def string) (string, error) {
	if def != "" {
		question += " [" + def + "]"
	}
	if err := s.say("%s: ", question); err != nil {
		return "", err
	}
	answer, err := s.in.ReadString('\n')
	if err != nil {
		return "", errors.New("nothing was changed: the questions were not answered")
	}
	if answer = strings.TrimSpace(answer); answer == "" {
		return def, nil
	}
	return answer, nil
}

// secret asks for a key without showing it; nil keeps the one there is.
func (s *session) secret(there, optional bool) (*string, error) {
	hint := ""
	switch {
	case there:
		hint = " (Enter keeps the one that is set)"
	case optional:
		hint = " (Enter if it needs none)"
	}
	if err := s.say("Key, not shown while you type%s: ", hint); err != nil {
		return nil, err
	}
	b, err := term.ReadPassword(int(s.terminal.Fd()))
	if err != nil {
		return nil, fmt.Errorf("read the key: %w", err)
	}
	if err := s.say("\n"); err != nil {
		return nil, err
	}
	if key := strings.TrimSpace(string(b)); key != "" {
		return &key, nil
	}
	return nil, nil
}

func (s *session) say(format string, args ...any) error {
	_, err := fmt.Fprintf(s.out, format, args...)
	return err
}
