package redact

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestText(t *testing.T) {
	long := strings.Repeat("a", 36)
	for in, want := range map[string]string{
		"write to joe@example.org":                "write to [REDACTED_EMAIL]",
		"ssn 123-45-6789 ok":                      "ssn [REDACTED_SSN] ok",
		"Cookie: a=b; c=d\nnext":                  "Cookie: [REDACTED]\nnext",
		"Authorization header Bearer abc.def-123": "Authorization header Bearer [REDACTED]",
		"Authorization: Bearer abc.def":           "Authorization=[REDACTED] [REDACTED]",
		"key sk-abcdefghijkl1234":                 "key [REDACTED]",
		"password: hunter2 next":                  "password=[REDACTED] next",
		"Token bucket algorithm":                  "Token bucket algorithm",
		"Token abc12345":                          "Token [REDACTED]",
		"max_tokens: 9":                           "max_tokens: 9",
		"input_tokens=5":                          "input_tokens=5",
		"tokens: 9":                               "tokens: 9",
		"Token v2":                                "Token v2",
		"primary_key=1":                           "primary_key=1",
		`{"password": "x y"}`:                     `{"password=[REDACTED] y"}`,
		"client_secret: abc":                      "client_secret=[REDACTED]",
		"api-key=abc&x=1":                         "api-key=[REDACTED]&x=1",
		"ghp_" + long:                             Mask,
		"AKIAABCDEFGHIJKLMNOP":                    Mask,
		"AIza" + long[:35]:                        Mask,
		"eyJhbGci.eyJzdWI.c2ln":                   Mask,
		"nothing to see":                          "nothing to see",
		"":                                        "",
	} {
		if got := Text(in); got != want {
			t.Errorf("Text(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestKey(t *testing.T) {
	for name, want := range map[string]bool{
		"password": true, "api_key": true, "api_keys": true, "apiKey": true, "APIKey": true, "email": true, "session_id": true, "sessionid": true,
		"token_budget": true, "tokenizer": true, "secretary": true, "api_key_ref": true, "credentials": true, "my_token": true, "sessiontoken": true,
		"client_certs": true, "social_security": true, "Set-Cookie": true,
		"input_tokens": false, "tokens": false, "max_tokens": false, "authorize": false, "continuation_id": false, "name": false, "usage": false,
		"token_usage": false, "trace_event_count": false, "key": false, "client": false,
	} {
		if got := Key(name); got != want {
			t.Errorf("Key(%q) = %v, want %v", name, got, want)
		}
	}
}

func TestJSON(t *testing.T) {
	for in, want := range map[string]string{
		`{"a":1,"password":"x","b":[{"token":null},{"secret":{"x":[1,2]}}],"c":true}`: `{"a":1,"password":"[REDACTED]","b":[{"token":"[REDACTED]"},{"secret":"[REDACTED]"}],"c":true}`,
		`{"email": 12 , "n": 1e6}`:   `{"email": "[REDACTED]" , "n": 1e6}`,
		`["mail joe@example.org\n"]`: `["mail [REDACTED_EMAIL]\n"]`,
		`["joe\u0040example.org"]`:   `["[REDACTED_EMAIL]"]`,
		`{"pass\u0077ord":"x"}`:      `{"pass\u0077ord":"[REDACTED]"}`,
		`{"x":"a \"quoted\" <tag>"}`: `{"x":"a \"quoted\" <tag>"}`,
		`{"session_id":false}`:       `{"session_id":"[REDACTED]"}`,
		`{}`:                         `{}`,
		`null`:                       `null`,
		`{"a":{"token":1},"b":"password: hunter2"}`: `{"a":{"token":"[REDACTED]"},"b":"password=[REDACTED]"}`,
	} {
		got := string(JSON([]byte(in)))
		if got != want {
			t.Errorf("JSON(%s) = %s, want %s", in, got, want)
		}
		if !json.Valid([]byte(got)) {
			t.Errorf("JSON(%s) is not valid JSON", in)
		}
	}
}

func TestPaths(t *testing.T) {
	for in, want := range map[string]string{
		"open /etc/kneo/spec.yaml: denied": "open [PATH]: denied",
		"a/b and /tmp":                     "a/b and /tmp",
		"'/a/b c":                          "'[PATH] c",
	} {
		if got := Paths(in); got != want {
			t.Errorf("Paths(%q) = %q, want %q", in, got, want)
		}
	}
}

func BenchmarkJSON(b *testing.B) {
	doc := []byte(`{"id":"b1","status":"running","messages":[{"role":"user","content":"an ordinary message of some length without anything to hide","name":null}],"metadata":{"spec":{"version":"v1","agent":{"name":"greeter","system_prompt":"Be brief."}},"target":"agent"}}`)
	b.SetBytes(int64(len(doc)))
	for b.Loop() {
		JSON(doc)
	}
}
