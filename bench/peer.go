package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
)

// runPeer serves as a reference until in ends, which it does with the process
// at its other end, however that ends. The first line of in is the seed.
func runPeer(name string, in io.Reader, out io.Writer) error {
	lines := bufio.NewReader(in)
	seed, err := lines.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("read the seed: %w", err)
	}
	var serve func(net.Listener) error
	switch name {
	case "rest":
		serve, err = restPeer(seed)
	case "grpc":
		serve, err = grpcPeer(context.Background(), seed)
	case "nats":
		return natsPeer(lines, out)
	case "terminal":
		serve = terminalPeer(strings.TrimSpace(string(seed)))
	case "provider":
		serve = (&http.Server{Handler: newProvider()}).Serve
	default:
		err = fmt.Errorf("no peer %q", name)
	}
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(out, "%s %s%s\n", name, listening, l.Addr()); err != nil {
		return err
	}
	ended := make(chan error, 2)
	go func() { ended <- serve(l) }()
	go func() {
		_, err := io.Copy(io.Discard, lines)
		ended <- err
	}()
	return errors.Join(<-ended, l.Close())
}
