package profile

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "deep", "profiles.json")
	p, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	p.Set(Profile{Name: "dev", ServiceURL: "http://127.0.0.1:8000/", APIKey: "optok"}, true)
	p.Set(Profile{Name: "bare", ServiceURL: "http://b"}, false)
	if err := p.Save(); err != nil {
		t.Fatal(err)
	}
	const want = `{
  "active": "dev",
  "profiles": {
    "bare": {
      "api_key": null,
      "service_url": "http://b"
    },
    "dev": {
      "api_key": "optok",
      "service_url": "http://127.0.0.1:8000"
    }
  }
}
`
	got, err := os.ReadFile(path)
	if err != nil || string(got) != want {
		t.Fatalf("%v\n%s", err, got)
	}
	if err := os.Chmod(path, 0o644); err != nil { //nolint:gosec // what Save must mend
		t.Fatal(err)
	}
	p.Delete("dev")
	p.Delete("never")
	if err := p.Save(); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v: the mode is %v", err, info.Mode())
	}
	again, err := Load(path)
	if err != nil || again.Active() != "" || len(again.List()) != 1 {
		t.Errorf("%v: %+v", err, again)
	}
}

func TestLookUp(t *testing.T) {
	t.Parallel()
	p, err := Load(filepath.Join(t.TempDir(), "none.json"))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"": "No service profile selected.", "x": "Unknown service profile: x"} {
		_, err := p.Get(name)
		var unknown *UnknownError
		if !errors.As(err, &unknown) || err.Error() != text {
			t.Errorf("Get(%q): %v", name, err)
		}
		if _, err := p.Use(name); err == nil {
			t.Errorf("Use(%q) was accepted", name)
		}
	}
	p.Set(Profile{Name: "a", ServiceURL: "http://a"}, false)
	if _, err := p.Use("a"); err != nil || p.Active() != "a" {
		t.Errorf("Use: %v, active %q", err, p.Active())
	}
}

func TestBadFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "profiles.json")
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err == nil {
		t.Error("a broken file was accepted")
	}
}

func TestPath(t *testing.T) {
	t.Parallel()
	env := func(m map[string]string) func(string) (string, bool) {
		return func(name string) (string, bool) { v, ok := m[name]; return v, ok }
	}
	for want, m := range map[string]map[string]string{
		"/h/.kneo_serv/profiles.json": {"HOME": "/h"},
		"/x/p.json":                   {"HOME": "/h", EnvPath: "/x/p.json"},
		"/h/p.json":                   {"HOME": "/h", EnvPath: "~/p.json"},
	} {
		if got, err := Path(env(m)); err != nil || got != want {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	}
}
