package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"

	"anthill/gateway"
	"anthill/services"
)

// own is a connection to what serves the configured home: the process that
// holds it, or, if none does, the services opened in this one.
func own(ctx context.Context, cfg config, errs io.Writer) (*client, error) {
	holder, err := services.HolderOf(cfg.Home)
	if err != nil {
		return nil, err
	}
	if holder == nil {
		return within(ctx, cfg, errs)
	}
	server, err := serverOf(cfg, holder)
	if err != nil {
		return nil, err
	}
	return connect(cfg, server)
}

// within opens the services of a home in this process.
func within(ctx context.Context, cfg config, errs io.Writer) (*client, error) {
	log := slog.New(slog.NewTextHandler(errs, &slog.HandlerOptions{Level: slog.LevelError}))
	svc, err := services.Open(ctx, services.Config{Home: cfg.Home, ProjectsDir: cfg.ProjectsDir, EnvFile: cfg.EnvFile,
		Getenv: os.LookupEnv, APIKey: cfg.APIKey, Version: buildVersion(), Log: log})
	if err != nil {
		return nil, err
	}
	return &client{
		ClientConnInterface: gateway.InProcess(svc.Register, svc.Unary(), svc.Stream()),
		Close:               func() error { return svc.Close(context.WithoutCancel(ctx)) },
		key:                 cfg.APIKey,
	}, nil
}

// apart opens services on a home of their own, for whoever must not change the
// configured one; the provider settings are the same. Close removes it.
func apart(ctx context.Context, cfg config, errs io.Writer) (*client, error) {
	dir, err := os.MkdirTemp("", "anthill-")
	if err != nil {
		return nil, err
	}
	cfg.Home, cfg.ProjectsDir = dir, dir+"/projects"
	c, err := within(ctx, cfg, errs)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	closed := c.Close
	c.Close = func() error { return errors.Join(closed(), os.RemoveAll(dir)) }
	return c, nil
}
