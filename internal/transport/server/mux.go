package server

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// prefaceTimeout is how long a new connection may wait before it says what it speaks.
const prefaceTimeout = 5 * time.Second

// preface begins every cleartext HTTP/2 connection of a gRPC client.
const preface = "PRI "

// mux splits the connections of one listener by their first bytes.
type mux struct {
	root       net.Listener
	grpc, http *branch
}

func newMux(root net.Listener) *mux {
	return &mux{root: root, grpc: newBranch(root), http: newBranch(root)}
}

// serve accepts until the listener is closed.
func (m *mux) serve() error {
	defer m.grpc.end()
	defer m.http.end()
	for {
		conn, err := m.root.Accept()
		if err != nil {
			var temporary interface{ Timeout() bool }
			if errors.As(err, &temporary) && temporary.Timeout() {
				continue
			}
			if errors.Is(err, net.ErrClosed) {
				return nil
			}
			return err
		}
		go m.sort(conn)
	}
}

// sort peeks at a connection and hands it to its branch.
func (m *mux) sort(conn net.Conn) {
	first := make([]byte, len(preface))
	if err := conn.SetReadDeadline(time.Now().Add(prefaceTimeout)); err != nil {
		_ = conn.Close() // The connection is given up.
		return
	}
	n, err := io.ReadFull(conn, first)
	if err != nil && !(errors.Is(err, io.ErrUnexpectedEOF) && n > 0) {
		_ = conn.Close() // The client said nothing in time.
		return
	}
	if err := conn.SetReadDeadline(time.Time{}); err != nil {
		_ = conn.Close() // The connection is given up.
		return
	}
	to := m.http
	if string(first[:n]) == preface {
		to = m.grpc
	}
	to.hand(&peeked{Conn: conn, first: first[:n]})
}

// peeked is a connection whose first bytes were read already.
type peeked struct {
	net.Conn
	first []byte
}

// Read returns the first bytes, then those of the connection.
func (p *peeked) Read(b []byte) (int, error) {
	if len(p.first) > 0 {
		n := copy(b, p.first)
		p.first = p.first[n:]
		return n, nil
	}
	return p.Conn.Read(b)
}

// branch is the listener of one protocol. Closing it closes the shared port: both protocols stop together.
type branch struct {
	root  net.Listener
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newBranch(root net.Listener) *branch {
	return &branch{root: root, conns: make(chan net.Conn), done: make(chan struct{})}
}

func (b *branch) hand(conn net.Conn) {
	select {
	case b.conns <- conn:
	case <-b.done:
		_ = conn.Close() // Nobody listens any more.
	}
}

func (b *branch) end() { b.once.Do(func() { close(b.done) }) }

// Accept waits for the next connection of the protocol.
func (b *branch) Accept() (net.Conn, error) {
	select {
	case conn := <-b.conns:
		return conn, nil
	case <-b.done:
		return nil, net.ErrClosed
	}
}

// Close ends this branch and the shared port.
func (b *branch) Close() error {
	b.end()
	return b.root.Close()
}

// Addr is the address of the shared port.
func (b *branch) Addr() net.Addr { return b.root.Addr() }
