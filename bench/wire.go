package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"strconv"
)

// wire is one keep-alive HTTP/1.1 connection with as little client around it as
// can be: on a small machine a full client would be most of what is measured.
type wire struct {
	conn net.Conn
	r    *bufio.Reader
}

func dial(addr string) (*wire, error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	return &wire{c, bufio.NewReader(c)}, nil
}

// request is a whole request as it goes over the wire; a body is JSON.
func request(method, addr, path, body string) []byte {
	head := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\nAccept: application/json\r\n", method, path, addr)
	if body != "" {
		head += fmt.Sprintf("Content-Type: application/json\r\nContent-Length: %d\r\n", len(body))
	}
	return []byte(head + "\r\n" + body)
}

// call sends a request and drops the answer, which must be a 200 or 201.
func (w *wire) call(request []byte) error {
	n, err := w.send(request)
	if err == nil {
		_, err = w.r.Discard(n)
	}
	return err
}

// fetch sends a request and returns the body of the answer, which must be a 200 or 201.
func (w *wire) fetch(request []byte) ([]byte, error) {
	n, err := w.send(request)
	if err != nil {
		return nil, err
	}
	body, err := w.r.Peek(n)
	if err != nil {
		return nil, err
	}
	body = bytes.Clone(body)
	_, err = w.r.Discard(n)
	return body, err
}

var (
	okLine        = []byte("HTTP/1.1 200 ")
	madeLine      = []byte("HTTP/1.1 201 ")
	contentLength = []byte("content-length:")
)

// send returns once the head of the answer is read, with the length of its body.
func (w *wire) send(request []byte) (int, error) {
	if _, err := w.conn.Write(request); err != nil {
		return 0, err
	}
	line, err := w.r.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	if !bytes.HasPrefix(line, okLine) && !bytes.HasPrefix(line, madeLine) {
		return 0, fmt.Errorf("answer: %q", line)
	}
	length := -1
	for {
		line, err := w.r.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			break
		}
		if n := len(contentLength); len(line) > n && bytes.EqualFold(line[:n], contentLength) {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(line[n:]))); err != nil {
				return 0, fmt.Errorf("answer: %q", line)
			}
		}
	}
	if length < 0 {
		return 0, errors.New("answer without a Content-Length")
	}
	return length, nil
}

// once is a call on a connection of its own.
func once(addr string, request []byte) (body []byte, err error) {
	w, err := dial(addr)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.conn.Close()) }()
	return w.fetch(request)
}
