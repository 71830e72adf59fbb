package auth_test

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kneo-go/kneo/internal/auth"
)

func TestNew(t *testing.T) {
	tests := map[string]struct {
		settings auth.Settings
		enabled  bool
		warnings int
		err      string
	}{
		"nothing":               {},
		"keys":                  {auth.Settings{APIKeys: "a:k:viewer"}, true, 0, ""},
		"admin only":            {auth.Settings{AdminAPIKey: " x "}, true, 0, ""},
		"explicitly off":        {auth.Settings{APIKeys: "a:k:viewer", Enabled: "False"}, false, 1, ""},
		"off without keys":      {auth.Settings{Enabled: "no"}, false, 0, ""},
		"blank means automatic": {auth.Settings{APIKeys: "a:k:viewer", Enabled: " "}, true, 0, ""},
		"same key twice":        {auth.Settings{APIKeys: "a:k:viewer", AdminAPIKey: "k"}, true, 1, ""},
		"blanks and separators": {auth.Settings{APIKeys: " ; a : k : viewer , runs:write ;; "}, true, 0, ""},
		"on without keys":       {auth.Settings{Enabled: "yes"}, false, 0, "KNEO service auth is enabled but no API keys are configured. Set KNEO_SERV_API_KEYS or KNEO_SERV_ADMIN_API_KEY."},
		"two parts":             {auth.Settings{APIKeys: "a:k"}, false, 0, "Invalid KNEO_SERV_API_KEYS entry. Expected 'name:key:role_or_scope[,role_or_scope]'."},
		"unknown word":          {auth.Settings{APIKeys: "bob:k:Viewer"}, false, 0, "Invalid KNEO_SERV_API_KEYS entry for 'bob': 'Viewer' is neither a known role (admin, operator, reviewer, service, viewer) nor a known scope. Check for a typo, or a stray ':' in the API key value (':' is the field delimiter; keys must not contain it)."},
		"colon in the key":      {auth.Settings{APIKeys: "bob:a:b:viewer"}, false, 0, "'b:viewer' is neither a known role"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			a, err := auth.New(test.settings)
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Fatalf("got %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if a.Enabled() != test.enabled || len(a.Warnings()) != test.warnings {
				t.Errorf("enabled %v, warnings %q", a.Enabled(), a.Warnings())
			}
		})
	}
}

func TestAuthenticate(t *testing.T) {
	a, err := auth.New(auth.Settings{APIKeys: "ops:k1:operator;mix:k2:viewer,runs:write;none:k3:;first:same:viewer;second:same:admin", AdminAPIKey: " adm "})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		token, name, has, lacks string
	}{
		{"k1", "ops", "runs:write", "human:write"},
		{"k2", "mix", "runs:write", "policies:read"},
		{"k3", "none", "", "runs:read"},
		{"same", "first", "runs:read", "runs:write"},
		{" adm ", "admin", "policies:write", ""},
		{"adm", "", "", ""},
		{"", "", "", ""},
		{"K1", "", "", ""},
	}
	for _, test := range tests {
		p, ok := a.Authenticate(test.token)
		if ok != (test.name != "") || p.Name != test.name {
			t.Errorf("%q: %v %v", test.token, p, ok)
			continue
		}
		if test.has != "" && !p.Allows(test.has) || test.lacks != "" && p.Allows(test.lacks) {
			t.Errorf("%q: scopes %v", test.token, p.Scopes)
		}
	}
}

func TestOff(t *testing.T) {
	a, err := auth.New(auth.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	p, ok := a.Authenticate("whatever")
	want := auth.Principal{Name: "anonymous", Roles: []string{"anonymous"}, Scopes: []string{"*"}}
	if diff := cmp.Diff(want, p); !ok || diff != "" {
		t.Error(ok, diff)
	}
}

func TestToken(t *testing.T) {
	for _, test := range []struct{ authorization, key, want string }{
		{"Bearer a", "b", "a"}, {"bEaReR  a", "", "a"}, {"Bearer ", "b", "b"}, {"Bearer", "b", "b"}, {"Basic x", "b", "b"}, {"a", "", ""}, {"", "b", "b"},
	} {
		if got := auth.Token(test.authorization, test.key); got != test.want {
			t.Errorf("%q %q: %q", test.authorization, test.key, got)
		}
	}
}

func TestContext(t *testing.T) {
	if auth.FromContext(context.Background()).Allows("runs:read") {
		t.Error("nobody must hold nothing")
	}
	if got := auth.FromContext(auth.NewContext(context.Background(), auth.Principal{Name: "x"})); got.Name != "x" {
		t.Error(got)
	}
}
