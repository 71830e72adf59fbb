package validate

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	kneov1 "github.com/kneo-go/kneo/gen/go/kneo/v1"
	"github.com/kneo-go/kneo/internal/wirejson"
)

// limits applies the configured limits and the path rules to the messages that have any.
func (c *check) limits(m proto.Message, loc []any) {
	switch m := m.(type) {
	case *kneov1.RunCreateRequest:
		c.runCreate(m, loc)
	case *kneov1.SpecRequest:
		c.spec(m, loc)
	case *kneov1.SpecCompileRequest:
		c.spec(m, loc)
	case *kneov1.HumanResumeRequest:
		c.resume(m, loc)
	case *kneov1.EnvironmentPolicy:
		c.policy(m, loc)
	}
}

// layered is what the requests with a spec have in common.
type layered interface {
	GetSpecPath() string
	GetSpec() *kneov1.JsonObject
	GetEnvironment() string
	GetOverlays() []string
	GetOverrides() *kneov1.JsonObject
}

func (c *check) spec(m layered, loc []any) {
	l := c.validator.limits
	c.path(m.GetSpecPath(), extend(loc, "spec_path"))
	c.size(m.GetSpec(), "spec", l.InlineSpecBytes, loc)
	c.chars(m.GetEnvironment(), "path/environment", l.PathChars, extend(loc, "environment"))
	c.overlays(m.GetOverlays(), extend(loc, "overlays"))
	c.size(m.GetOverrides(), "overrides", l.OverridesBytes, loc)
}

func (c *check) runCreate(m *kneov1.RunCreateRequest, loc []any) {
	l := c.validator.limits
	c.chars(m.GetInput(), "input", l.InputChars, extend(loc, "input"))
	c.spec(m, loc)
	c.chars(m.GetSessionId(), "path/environment", l.PathChars, extend(loc, "session_id"))
	c.size(m.GetMetadata(), "metadata", l.MetadataBytes, loc)
	if m.TimeoutSeconds != nil && !(m.GetTimeoutSeconds() > 0) {
		c.add(extend(loc, "timeout_seconds"), "greater_than", "Input should be greater than 0", map[string]any{"gt": 0})
	}
}

func (c *check) resume(m *kneov1.HumanResumeRequest, loc []any) {
	l := c.validator.limits
	c.chars(m.GetRequestId(), "human task field", l.PathChars, extend(loc, "request_id"))
	c.chars(m.GetContent(), "content", l.HumanContentChars, extend(loc, "content"))
	c.chars(m.GetSelectedOption(), "human task field", l.PathChars, extend(loc, "selected_option"))
	c.size(m.GetMetadata(), "metadata", l.MetadataBytes, loc)
}

func (c *check) policy(m *kneov1.EnvironmentPolicy, loc []any) {
	l := c.validator.limits
	where := extend(loc, "blocked_diagnostic_codes")
	if !c.items(len(m.GetBlockedDiagnosticCodes()), "blocked_diagnostic_codes", where) {
		return
	}
	for _, code := range m.GetBlockedDiagnosticCodes() {
		if !c.chars(code, "diagnostic code", l.PathChars, where) {
			return
		}
	}
}

func (c *check) overlays(paths []string, loc []any) {
	if !c.items(len(paths), "overlays", loc) {
		return
	}
	for _, path := range paths {
		if !c.chars(path, "overlay path", c.validator.limits.PathChars, loc) || !c.safe(path, loc) {
			return
		}
	}
}

func (c *check) path(path string, loc []any) {
	if c.chars(path, "path/environment", c.validator.limits.PathChars, loc) {
		c.safe(path, loc)
	}
}

// safe refuses paths that leave the folder they are relative to by their spelling.
func (c *check) safe(path string, loc []any) bool {
	if strings.HasPrefix(path, "~") {
		return c.refuse(loc, "spec_path must not use '~' home-directory expansion.")
	}
	for _, segment := range strings.FieldsFunc(path, func(r rune) bool { return r == '/' || r == '\\' }) {
		if segment == ".." {
			return c.refuse(loc, "spec_path must not contain parent-directory ('..') segments.")
		}
	}
	return true
}

func (c *check) chars(text, label string, limit int, loc []any) bool {
	if len(text) <= limit || utf8.RuneCountInString(text) <= limit {
		return true
	}
	return c.refuse(loc, fmt.Sprintf("%s exceeds maximum length of %d characters.", label, limit))
}

func (c *check) items(n int, label string, loc []any) bool {
	if n <= c.validator.limits.ListItems {
		return true
	}
	return c.refuse(loc, fmt.Sprintf("%s exceeds maximum item count of %d.", label, c.validator.limits.ListItems))
}

// size bounds a free-form object.
func (c *check) size(m *kneov1.JsonObject, name string, limit int, loc []any) {
	raw := m.GetRaw()
	where := extend(loc, name)
	if wirejson.MaxSize(raw) <= limit || c.broken(where) || wirejson.Size(raw) <= limit {
		return
	}
	c.refuse(where, fmt.Sprintf("%s exceeds maximum serialized size of %d bytes.", name, limit))
}

// refuse adds a violation unless the place has one already; it always answers false.
func (c *check) refuse(loc []any, message string) bool {
	if !c.broken(loc) {
		c.add(loc, "value_error", "Value error, "+message, map[string]any{"error": map[string]any{}})
	}
	return false
}
