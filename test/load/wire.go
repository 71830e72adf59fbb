package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// connection is a persistent HTTP/1.1 connection that costs as little as possible, because it shares the machine with the server it measures.
type connection struct {
	address, host, key string
	conn               net.Conn
	in                 *bufio.Reader
	out                []byte
	body               bytes.Buffer
}

// requestTimeout is the longest wait for an answer.
const requestTimeout = 2 * time.Minute

func connect(base, key string) (*connection, error) {
	u, err := url.Parse(base)
	if err != nil {
		return nil, err
	}
	return &connection{address: u.Host, host: u.Host, key: key}, nil
}

func (c *connection) close() {
	if c.conn != nil {
		_ = c.conn.Close()
		c.conn = nil
	}
}

// do sends a request and returns status and body; the body is valid until the next call. A connection that the server has closed in between is
// opened again.
func (c *connection) do(ctx context.Context, method, path string, header string, body []byte) (int, []byte, error) {
	reused := c.conn != nil
	status, answer, err := c.once(ctx, method, path, header, body)
	if err != nil && reused && errors.Is(err, io.EOF) {
		return c.once(ctx, method, path, header, body)
	}
	return status, answer, err
}

func (c *connection) once(ctx context.Context, method, path, header string, body []byte) (int, []byte, error) {
	if c.conn == nil {
		conn, err := (&net.Dialer{Timeout: requestTimeout}).DialContext(ctx, "tcp", c.address)
		if err != nil {
			return 0, nil, err
		}
		c.conn, c.in = conn, bufio.NewReaderSize(conn, 1<<16)
	}
	b := append(c.out[:0], method...)
	b = append(append(append(b, ' '), path...), " HTTP/1.1\r\nHost: "...)
	b = append(append(b, c.host...), "\r\n"...)
	if c.key != "" {
		b = append(append(append(b, "X-API-Key: "...), c.key...), "\r\n"...)
	}
	b = append(b, header...)
	if body != nil {
		b = append(b, "Content-Type: application/json\r\nContent-Length: "...)
		b = append(strconv.AppendInt(b, int64(len(body)), 10), "\r\n"...)
	}
	b = append(append(b, "\r\n"...), body...)
	c.out = b
	err := c.conn.SetDeadline(time.Now().Add(requestTimeout))
	if err == nil {
		_, err = c.conn.Write(b)
	}
	var status int
	if err == nil {
		status, err = c.answer()
	}
	if err != nil {
		c.close()
		return 0, nil, err
	}
	return status, c.body.Bytes(), nil
}

func (c *connection) answer() (int, error) {
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	if len(line) < 12 {
		return 0, fmt.Errorf("status line %q", line)
	}
	status, err := strconv.Atoi(string(line[9:12]))
	if err != nil {
		return 0, err
	}
	length, chunked, last := int64(-1), false, false
	for {
		line, err = c.in.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		name, value, found := strings.Cut(strings.TrimRight(string(line), "\r\n"), ":")
		if !found {
			break
		}
		switch value = strings.TrimSpace(value); {
		case strings.EqualFold(name, "Content-Length"):
			if length, err = strconv.ParseInt(value, 10, 64); err != nil {
				return 0, err
			}
		case strings.EqualFold(name, "Transfer-Encoding"):
			chunked = strings.EqualFold(value, "chunked")
		case strings.EqualFold(name, "Connection"):
			last = strings.EqualFold(value, "close")
		}
	}
	c.body.Reset()
	switch {
	case chunked:
		_, err = c.body.ReadFrom(httputil.NewChunkedReader(c.in))
		if err == nil {
			_, err = c.in.ReadSlice('\n')
		}
	case length > 0:
		_, err = io.CopyN(&c.body, c.in, length)
	case length < 0 && status != http.StatusNoContent:
		last = true
		_, err = c.body.ReadFrom(c.in)
	}
	if last {
		c.close()
	}
	return status, err
}
