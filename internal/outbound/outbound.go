// Package outbound limits where specs can make the service send requests: never to link-local addresses, where clouds keep the credentials of a host, and only to
// named hosts when the deployment names some. It imports only the standard library.
package outbound

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
)

// errForbidden is the reason a connection is not made.
var errForbidden = errors.New("connections to link-local addresses are not allowed")

// metadata are addresses of cloud metadata services outside the link-local ranges.
var metadata = []netip.Addr{netip.MustParseAddr("fd00:ec2::254"), netip.MustParseAddr("100.100.100.200")}

// Control is a net.Dialer.Control that refuses forbidden addresses. It sees the address after the name was resolved, so a name that leads there does not help.
func Control(_, address string, _ syscall.RawConn) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return nil //nolint:nilerr // not an IP address, such as a unix socket
	}
	ip = ip.Unmap().WithZone("")
	if ip.IsLinkLocalUnicast() || ip.IsLinkLocalMulticast() {
		return errForbidden
	}
	for _, m := range metadata {
		if ip == m {
			return errForbidden
		}
	}
	return nil
}

// Hosts are the hosts that specs may name: a name, a name with a port, or *.domain for everything below a domain. None means any.
type Hosts []string

// Allow checks a URL.
func (h Hosts) Allow(raw string) error {
	if len(h) == 0 {
		return nil
	}
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" {
		return fmt.Errorf("%q is no address of a host", raw)
	}
	for _, pattern := range h {
		pattern = strings.ToLower(strings.TrimSpace(pattern))
		subject := strings.ToLower(u.Hostname())
		if strings.Contains(pattern, ":") && !strings.HasPrefix(pattern, "[") || strings.Contains(pattern, "]:") {
			subject = strings.ToLower(u.Host)
		}
		if below, ok := strings.CutPrefix(pattern, "*."); ok && strings.HasSuffix(subject, "."+below) || pattern == subject {
			return nil
		}
	}
	return fmt.Errorf("host %s is not among KNEO_SERV_OUTBOUND_HOSTS", u.Host)
}
