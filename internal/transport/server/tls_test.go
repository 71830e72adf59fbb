package server

import (
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/kneo-go/kneo/internal/testkit/certs"
)

func TestRenewedCertificateIsUsed(t *testing.T) {
	dir, then := t.TempDir(), time.Now().Add(-time.Hour)
	cert, key, _ := certs.Write(t, dir, 1, then)
	c := &certificate{files: TLS{CertFile: cert, KeyFile: key}, logger: slog.New(slog.DiscardHandler)}
	if err := c.load(); err != nil {
		t.Fatal(err)
	}
	serial := func() int64 {
		t.Helper()
		got, err := c.get(nil)
		if err != nil {
			t.Fatal(err)
		}
		return got.Leaf.SerialNumber.Int64()
	}
	certs.Write(t, dir, 2, then.Add(time.Minute))
	if got := serial(); got != 1 {
		t.Errorf("files are looked at too often: %d", got)
	}
	c.checked = time.Time{}
	if got := serial(); got != 2 {
		t.Errorf("got %d", got)
	}
	if err := os.WriteFile(cert, []byte("half written"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.checked = time.Time{}
	if got := serial(); got != 2 {
		t.Errorf("a broken file must not replace a good one: %d", got)
	}
}
