// Package client is the typed Go client of a Kneo service: it dials, authenticates, retries what is safe, waits for runs and follows them.
//
//	c, err := client.Dial("http://localhost:8000", client.Options{APIKey: os.Getenv("KNEO_API_KEY")})
//	if err != nil { … }
//	defer c.Close()
//	r, err := c.Run(ctx, client.RunRequest{SpecPath: "hello.yaml", Input: "Hi"})
//
// The generated gRPC clients are reachable through it (Runs, Specs, …) and share its connection, credentials and retries. The package speaks gRPC
// only; it works in any program and imports nothing of the platform but the contract.
package client

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	kneov1 "github.com/kneo-go/kneo/gen/go/kneo/v1"
)

// Options steer a client. Zero values mean the defaults.
type Options struct {
	// APIKey is sent with every call, when set.
	APIKey string
	// IdempotencyKey is sent with every call that takes one instead of a key drawn for the call.
	IdempotencyKey string
	// UserAgent is put in front of the library's own.
	UserAgent string
	// TLS configures addresses of the scheme https; nil means the system's authorities.
	TLS *tls.Config
	// Retry bounds retries; the zero value means DefaultRetry.
	Retry Retry
	// Timeout bounds each call that has no deadline of its own; 0 means none. Watching a run is not bounded.
	Timeout time.Duration
}

// Client talks to one service. It is safe for concurrent use.
type Client struct {
	conn  grpc.ClientConnInterface
	close func() error
}

const (
	keepAliveTime    = time.Minute
	keepAliveTimeout = 20 * time.Second
	// messageLimit is the largest answer that is accepted.
	messageLimit = 64 << 20
)

// Dial returns a client of a service. The target is an address with a scheme (http or grpc for clear text, https or grpcs for TLS) or just
// host:port in clear text. No connection is made before the first call.
func Dial(target string, o Options) (*Client, error) {
	address, secure, err := Target(target)
	if err != nil {
		return nil, err
	}
	transport := insecure.NewCredentials()
	if secure {
		config := o.TLS
		if config == nil {
			config = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		transport = credentials.NewTLS(config)
	}
	agent := "kneo-go-client"
	if o.UserAgent != "" {
		agent = o.UserAgent + " " + agent
	}
	conn, err := grpc.NewClient("passthrough:///"+address,
		grpc.WithTransportCredentials(transport), grpc.WithUserAgent(agent),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(messageLimit)), grpc.WithDisableServiceConfig(), grpc.WithDisableRetry(),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: keepAliveTime, Timeout: keepAliveTimeout}),
	)
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	return &Client{conn: Wrap(conn, o), close: conn.Close}, nil
}

// New returns a client over a connection that exists already, for example one inside the process. Options about dialing are ignored, and Close
// leaves the connection open.
func New(conn grpc.ClientConnInterface, o Options) *Client {
	return &Client{conn: Wrap(conn, o), close: func() error { return nil }}
}

// Target splits a service address into host:port and whether TLS is used.
func Target(target string) (address string, secure bool, err error) {
	if !strings.Contains(target, "://") {
		target = "http://" + target
	}
	u, err := url.Parse(target)
	if err != nil || u.Hostname() == "" {
		return "", false, fmt.Errorf("client: %q is no service address; expected something like http://host:8000", target)
	}
	port := u.Port()
	switch u.Scheme {
	case "http", "grpc":
		if port == "" {
			port = "80"
		}
	case "https", "grpcs":
		secure = true
		if port == "" {
			port = "443"
		}
	default:
		return "", false, fmt.Errorf("client: unknown scheme %q in %q; use http, https, grpc or grpcs", u.Scheme, target)
	}
	return net.JoinHostPort(u.Hostname(), port), secure, nil
}

// Close closes the connection.
func (c *Client) Close() error { return c.close() }

// Conn is the connection with credentials and retries, for generated clients.
func (c *Client) Conn() grpc.ClientConnInterface { return c.conn }

// Runs creates, lists, inspects and steers runs.
func (c *Client) Runs() kneov1.RunServiceClient { return kneov1.NewRunServiceClient(c.conn) }

// Specs checks and explains specs.
func (c *Client) Specs() kneov1.SpecServiceClient { return kneov1.NewSpecServiceClient(c.conn) }

// HumanTasks lists and answers the questions of runs.
func (c *Client) HumanTasks() kneov1.HumanTaskServiceClient {
	return kneov1.NewHumanTaskServiceClient(c.conn)
}

// Audit reads the audit trail.
func (c *Client) Audit() kneov1.AuditServiceClient { return kneov1.NewAuditServiceClient(c.conn) }

// Policies reads and changes environment policies.
func (c *Client) Policies() kneov1.PolicyServiceClient { return kneov1.NewPolicyServiceClient(c.conn) }

// Skills lists installed skills.
func (c *Client) Skills() kneov1.SkillServiceClient { return kneov1.NewSkillServiceClient(c.conn) }

// Security tells which credentials are configured.
func (c *Client) Security() kneov1.SecurityServiceClient {
	return kneov1.NewSecurityServiceClient(c.conn)
}

// Health tells whether the service lives and can work.
func (c *Client) Health() kneov1.HealthServiceClient { return kneov1.NewHealthServiceClient(c.conn) }

// Events follows runs.
func (c *Client) Events() kneov1.EventServiceClient { return kneov1.NewEventServiceClient(c.conn) }

// Ready returns nil when the service can work.
func (c *Client) Ready(ctx context.Context) error {
	_, err := c.Health().GetReadiness(ctx, &kneov1.GetReadinessRequest{})
	return err
}
