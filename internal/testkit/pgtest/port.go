package pgtest

import "net"

// fallbackPort is used when the system gives none.
const fallbackPort = 54329

// freePort asks the system for an unused port of the loopback interface.
func freePort() uint32 {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // a local port probe
	if err != nil {
		return fallbackPort
	}
	defer func() { _ = l.Close() }()
	addr, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		return fallbackPort
	}
	return uint32(addr.Port) //nolint:gosec // a port fits
}
