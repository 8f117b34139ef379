package edge

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"time"
)

const (
	readHeaderTimeout = 10 * time.Second
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 64 << 10
)

// NewHTTPServer is the server for everything that is not native gRPC. Requests
// live in base: cancelling it ends the streams, which a Shutdown would wait for.
// There is no limit on the time of an answer, because streams have none; those
// bound each of their writes instead (package sse). A nil log means slog.Default.
func NewHTTPServer(h http.Handler, base context.Context, log *slog.Logger) *http.Server {
	if log == nil {
		log = slog.Default()
	}
	return &http.Server{
		Handler:           h,
		BaseContext:       func(net.Listener) context.Context { return base },
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		// "OPTIONS *" would be answered past the Policy.
		DisableGeneralOptionsHandler: true,
	}
}
