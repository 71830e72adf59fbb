package pgtest

import (
	"os"
	"testing"

	"github.com/jackc/pgx/v5"
)

func TestServer(t *testing.T) {
	s, err := Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(s.dir); !os.IsNotExist(err) {
			t.Errorf("folder is left: %v", err)
		}
	})
	a, b := s.Database(t), s.Database(t)
	if a == b {
		t.Fatal("two tests share a database")
	}
	conn, err := pgx.Connect(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	var one int
	if err := conn.QueryRow(t.Context(), "SELECT 1").Scan(&one); err != nil || one != 1 {
		t.Errorf("%d, %v", one, err)
	}
	if err := conn.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestBinariesMustBeComplete(t *testing.T) {
	t.Setenv(EnvBinaries, t.TempDir())
	if _, err := binaries(); err == nil {
		t.Fatal("an empty folder is accepted")
	}
}
