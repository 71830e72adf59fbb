package server

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// recheck is how often the certificate files are looked at, at most.
const recheck = time.Second

// TLS names the files of a certificate. The files are read again when they change, so a renewed certificate needs no restart.
type TLS struct {
	CertFile, KeyFile string
	// ClientCAFile, when set, requires clients to show a certificate that one of its authorities signed.
	ClientCAFile string
}

// config returns nil when there is no certificate.
func (t TLS) config(logger *slog.Logger) (*tls.Config, error) {
	switch {
	case t.CertFile == "" && t.KeyFile == "" && t.ClientCAFile == "":
		return nil, nil //nolint:nilnil // No certificate means no TLS, which is not an error.
	case t.CertFile == "" || t.KeyFile == "":
		return nil, errors.New("server: TLS needs a certificate file and a key file")
	}
	files := &certificate{files: t, logger: logger}
	if err := files.load(); err != nil {
		return nil, err
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: files.get, NextProtos: []string{"h2", "http/1.1"}}
	if t.ClientCAFile == "" {
		return config, nil
	}
	text, err := os.ReadFile(t.ClientCAFile)
	if err != nil {
		return nil, fmt.Errorf("server: client authorities: %w", err)
	}
	config.ClientCAs = x509.NewCertPool()
	if !config.ClientCAs.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("server: %s holds no certificate", t.ClientCAFile)
	}
	config.ClientAuth = tls.RequireAndVerifyClientCert
	return config, nil
}

// certificate is the newest readable content of the files.
type certificate struct {
	files  TLS
	logger *slog.Logger

	mu      sync.Mutex
	current *tls.Certificate
	changed time.Time
	checked time.Time
}

func (c *certificate) load() error {
	changed, err := c.lastChange()
	if err != nil {
		return fmt.Errorf("server: certificate: %w", err)
	}
	pair, err := tls.LoadX509KeyPair(c.files.CertFile, c.files.KeyFile)
	if err != nil {
		return fmt.Errorf("server: certificate: %w", err)
	}
	c.current, c.changed, c.checked = &pair, changed, time.Now()
	return nil
}

func (c *certificate) lastChange() (time.Time, error) {
	var newest time.Time
	for _, name := range []string{c.files.CertFile, c.files.KeyFile} {
		info, err := os.Stat(name)
		if err != nil {
			return newest, err
		}
		if info.ModTime().After(newest) {
			newest = info.ModTime()
		}
	}
	return newest, nil
}

// get returns the certificate for a handshake. Files that cannot be read keep the one in use.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.checked) < recheck {
		return c.current, nil
	}
	c.checked = time.Now()
	changed, err := c.lastChange()
	if err == nil && changed.After(c.changed) {
		err = c.load()
	}
	if err != nil {
		c.logger.Warn("the certificate was not reloaded", slog.Any("error", err))
	}
	return c.current, nil
}
