package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
)

// socket is a WebSocket with as little client around it as can be.
type socket struct {
	conn net.Conn
	r    *bufio.Reader // until it only counts
}

// dialSocket makes the handshake.
func dialSocket(addr, path string) (*socket, error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	s := &socket{c, bufio.NewReader(c)}
	if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n", path, addr); err != nil {
		return nil, err
	}
	for first := true; ; first = false {
		line, err := s.r.ReadString('\n')
		if err != nil {
			return nil, err
		}
		if first && !strings.HasPrefix(line, "HTTP/1.1 101 ") {
			return nil, fmt.Errorf("handshake: %q", line)
		}
		if line == "\r\n" {
			return s, nil
		}
	}
}

// Kinds of frames.
const (
	opText   = 1
	opBinary = 2
	opPong   = 10
)

// clientFrame is a frame as clients send it, masked with zeros.
func clientFrame(op byte, payload []byte) []byte {
	b := []byte{0x80 | op}
	if n := len(payload); n < 126 {
		b = append(b, 0x80|byte(n))
	} else {
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	}
	return append(append(b, 0, 0, 0, 0), payload...)
}

// await reads frames until one holds what is wanted.
func (s *socket) await(want string) error {
	for {
		var head [2]byte
		if _, err := io.ReadFull(s.r, head[:]); err != nil {
			return fmt.Errorf("waiting for %s: %w", want, err)
		}
		n := uint64(head[1])
		switch n {
		case 126:
			var more [2]byte
			if _, err := io.ReadFull(s.r, more[:]); err != nil {
				return err
			}
			n = uint64(binary.BigEndian.Uint16(more[:]))
		case 127:
			return fmt.Errorf("waiting for %s: a frame of more than 64 KiB", want)
		}
		payload := make([]byte, n)
		if _, err := io.ReadFull(s.r, payload); err != nil {
			return err
		}
		if bytes.Contains(payload, []byte(want)) {
			return nil
		}
	}
}

// mark stands once in every message that is fanned out, and nowhere else.
var mark = []byte("é")

// count reads to the end of the connection and counts the messages in it.
func (s *socket) count(into *counter) error {
	buf := make([]byte, 16<<10)
	held := 0 // a byte that may begin a mark
	for {
		n, err := s.r.Read(buf[held:])
		got := buf[:held+n]
		into.Add(int64(bytes.Count(got, mark)))
		held = 0
		if len(got) > 0 && got[len(got)-1] == mark[0] {
			buf[0], held = mark[0], 1
		}
		if err != nil {
			return err
		}
	}
}
