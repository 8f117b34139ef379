package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/viper"

	"anthill/gateway"
	"anthill/gateway/listen"
	"anthill/services"
)

// SIGTERM ends the server within 10 s: turns may finish for a while, then
// connections, then the stores close.
const (
	// gcPercent trades some memory for time: the live heap is small, and at the
	// default it would be collected many times a second under load.
	gcPercent = 400

	drainFor    = 4 * time.Second
	shutdownFor = 2 * time.Second
	stopFor     = 9 * time.Second // all of it
)

func newServe(v *viper.Viper) *cobra.Command {
	return &cobra.Command{
		Use:   "serve",
		Short: "Run the server",
		Long:  "Run the server until it is told to stop (Ctrl-C or SIGTERM). It is ready when GET /health answers 200.",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := load(v)
			if err != nil {
				return err
			}
			return serve(c.Context(), cfg, c.OutOrStdout(), c.ErrOrStderr())
		},
	}
}

func serve(ctx context.Context, cfg config, out, errs io.Writer) (err error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.LogLevel)); err != nil {
		return fmt.Errorf("log level %q: use debug, info, warn or error", cfg.LogLevel)
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	log := slog.New(slog.NewTextHandler(errs, &slog.HandlerOptions{Level: level}))

	var secure *tls.Config
	if cfg.TLSCert != "" {
		if secure, err = listen.TLS(cfg.TLSCert, cfg.TLSKey, log); err != nil {
			return err
		}
	}
	// The data directory first: a second start is told who holds it, not that
	// the port is taken.
	svc, err := services.Open(ctx, services.Config{
		Home: cfg.Home, ProjectsDir: cfg.ProjectsDir, EnvFile: cfg.EnvFile, Getenv: os.LookupEnv,
		APIKey: cfg.APIKey, Version: buildVersion(), MaxActive: cfg.MaxActive, TerminalHost: cfg.TerminalHost, TerminalKeep: int64(cfg.TerminalKeep) << 20, Retention: cfg.Retention,
		InviteMaxFailures: cfg.InviteMaxFailures, ObsidianVault: cfg.ObsidianVault, OpenSlideDir: cfg.OpenSlideDir, Log: log,
	})
	if err != nil {
		return err
	}
	listeners, err := listenAll(cfg.Listen)
	if err != nil {
		return errors.Join(err, svc.Close(context.WithoutCancel(ctx)))
	}
	var urls []string
	for _, l := range listeners {
		urls = append(urls, cfg.scheme()+"://"+l.Addr().String())
	}
	if err := svc.Announce(urls); err != nil {
		return errors.Join(err, closeAll(listeners), svc.Close(context.WithoutCancel(ctx)))
	}
	srv, err := gateway.New(gateway.Options{
		Register: svc.Register, Unary: svc.Unary(), Stream: svc.Stream(), Codec: services.Codec(), RelaySecret: svc.RelaySecret(), Listeners: listeners,
		Version: buildVersion(), TLS: secure, AllowedHosts: cfg.AllowedHosts, AllowedOrigins: cfg.AllowedOrigins,
		BasePath: cfg.BasePath, TrustedProxies: cfg.TrustedProxies, Log: log,
	})
	if err != nil {
		return errors.Join(err, closeAll(listeners), svc.Close(context.WithoutCancel(ctx)))
	}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve() }()
	if _, err := fmt.Fprintf(errs, "open %s in a browser (works once, within ten minutes)\n", launchLink(reachableURL(urls[0]), svc.LaunchCode())); err != nil {
		log.Warn("cannot print the launch link", "error", err)
	}
	for _, u := range urls {
		if _, err := fmt.Fprintf(out, "anthill %s listening on %s\n", buildVersion(), u); err != nil {
			log.Warn("cannot print the address", "error", err)
		}
	}
	select {
	case err = <-failed:
	case <-ctx.Done():
		log.Info("stopping")
	}
	return errors.Join(err, stop(context.WithoutCancel(ctx), srv, svc))
}

// stop ends in the order in which nothing is lost: no new connections, turns
// sealed, streams ended after their last event, stores closed.
func stop(ctx context.Context, srv *gateway.Server, svc *services.Services) error {
	ctx, done := context.WithTimeout(ctx, stopFor)
	defer done()
	err := srv.StopAccepting()
	drain, drained := context.WithTimeout(ctx, drainFor)
	svc.Drain(drain)
	drained()
	shut, shutDown := context.WithTimeout(ctx, shutdownFor)
	err = errors.Join(err, srv.Shutdown(shut))
	shutDown()
	return errors.Join(err, svc.Close(ctx))
}

func listenAll(addrs []string) ([]net.Listener, error) {
	var out []net.Listener
	for _, a := range addrs {
		l, err := net.Listen("tcp", a)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("cannot listen on %s (is another server running there? choose another --port): %w", a, err), closeAll(out))
		}
		out = append(out, l)
	}
	return out, nil
}

func closeAll(ls []net.Listener) error {
	var errs []error
	for _, l := range ls {
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}
