package main

import (
	"errors"
	"fmt"
	"io"
	"time"

	nats "github.com/nats-io/nats-server/v2/server"
)

// natsPeer is a NATS server with a WebSocket listener, until in ends.
func natsPeer(in io.Reader, out io.Writer) error {
	o := &nats.Options{Host: "127.0.0.1", Port: nats.RANDOM_PORT, NoLog: true, NoSigs: true, MaxPending: 256 << 20,
		Websocket: nats.WebsocketOpts{Host: "127.0.0.1", Port: nats.RANDOM_PORT, NoTLS: true}}
	s, err := nats.NewServer(o)
	if err != nil {
		return err
	}
	s.Start()
	defer s.Shutdown()
	if !s.ReadyForConnections(10 * time.Second) {
		return errors.New("nats does not listen")
	}
	if _, err := fmt.Fprintf(out, "nats %s127.0.0.1:%d\n", listening, o.Websocket.Port); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, in)
	return err
}

// natsGreeting makes a client of NATS; it is answered with PONG.
const natsGreeting = "CONNECT {\"verbose\":false,\"pedantic\":false}\r\n%sPING\r\n"

// natsSubscribers are sockets that follow the one subject.
func natsSubscribers(addr string, n int) ([]*socket, error) {
	return sockets(n, func() (*socket, error) { return natsClient(addr, "SUB room 1\r\n") })
}

func natsClient(addr, more string) (*socket, error) {
	s, err := dialSocket(addr, "/")
	if err != nil {
		return nil, err
	}
	if _, err := s.conn.Write(clientFrame(opBinary, fmt.Appendf(nil, natsGreeting, more))); err != nil {
		return nil, err
	}
	return s, s.await("PONG")
}

// natsPublisher publishes on a socket of its own.
func natsPublisher(addr string) (publisher, error) {
	s, err := natsClient(addr, "")
	if err != nil {
		return publisher{}, err
	}
	go func() { _ = s.count(&counter{}) }() // pings of the server need no answer within a run
	frame := clientFrame(opBinary, fmt.Appendf(nil, "PUB room %d\r\n%s\r\n", len(fanText), fanText))
	send := func() error {
		_, err := s.conn.Write(frame)
		return err
	}
	return publisher{send: []func() error{send}, close: func() { s.conn.Close() }}, nil
}
