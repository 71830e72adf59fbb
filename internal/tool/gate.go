package tool

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/kneo-go/kneo/internal/plan"
)

// Refusal is a call that the gate does not let through; it ends the run as a guardrail violation of type ToolMiddlewareViolation.
type Refusal struct {
	Tool    string
	Message string
}

// Error returns the message.
func (r *Refusal) Error() string { return r.Message }

// Gate checks calls against an agent's tool selection.
type Gate struct {
	Include     []string
	Exclude     []string
	Permissions *plan.Permissions
}

// Check returns a *Refusal when the call must not be made: names first, then the domains of every string in the arguments, keys included.
func (g Gate) Check(name string, arguments json.RawMessage) error {
	if slices.Contains(g.Exclude, name) {
		return refuse(name, "Tool '%s' is explicitly denied.", name)
	}
	if len(g.Include) > 0 && !slices.Contains(g.Include, name) {
		return refuse(name, "Tool '%s' is not in the allow list.", name)
	}
	p := g.Permissions
	if p == nil || len(p.AllowedDomains) == 0 && len(p.DeniedDomains) == 0 {
		return nil
	}
	var value any
	if err := json.Unmarshal(arguments, &value); err != nil {
		return refuse(name, "Tool '%s' arguments are not valid JSON.", name)
	}
	return checkDomains(name, p, value)
}

func checkDomains(name string, p *plan.Permissions, value any) error {
	switch v := value.(type) {
	case string:
		return checkHost(name, p, v)
	case []any:
		for _, item := range v {
			if err := checkDomains(name, p, item); err != nil {
				return err
			}
		}
	case map[string]any:
		keys := make([]string, 0, len(v))
		for k := range v {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		for _, k := range keys {
			if err := checkHost(name, p, k); err != nil {
				return err
			}
			if err := checkDomains(name, p, v[k]); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkHost(name string, p *plan.Permissions, text string) error {
	host, ok := Host(text)
	if !ok {
		return nil
	}
	if matchesDomain(host, p.DeniedDomains) {
		return refuse(name, "Tool '%s' call targets denied domain '%s'.", name, host)
	}
	if len(p.AllowedDomains) > 0 && !matchesDomain(host, p.AllowedDomains) {
		return refuse(name, "Tool '%s' call targets domain '%s' that is not in allowed_domains.", name, host)
	}
	return nil
}

func matchesDomain(host string, entries []string) bool {
	for _, e := range entries {
		e = normalHost(strings.TrimLeft(e, "."))
		if e != "" && (host == e || strings.HasSuffix(host, "."+e)) {
			return true
		}
	}
	return false
}

func refuse(tool, format string, args ...any) error {
	return &Refusal{Tool: tool, Message: fmt.Sprintf(format, args...)}
}

// spellings undoes what some clients skip or read as a slash.
var spellings = strings.NewReplacer("\t", "", "\r", "", "\n", "", `\`, "/")

// Host returns the host of a text that is a URL with an authority; the scheme may be missing ("//host/x"). It reads spellings that some clients
// accept (backslashes, control characters, user names, full-width letters), so that none of them walks around the domain lists.
func Host(text string) (string, bool) {
	s := strings.TrimLeftFunc(text, func(r rune) bool { return r <= ' ' })
	s = spellings.Replace(s)
	scheme, rest := splitScheme(s)
	switch {
	case strings.HasPrefix(rest, "//"):
		rest = rest[2:]
		if isWeb(scheme) {
			rest = strings.TrimLeft(rest, "/")
		}
	case isWeb(scheme):
		rest = strings.TrimLeft(rest, "/")
	default:
		return "", false
	}
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		rest = rest[:end]
	}
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		rest = rest[at+1:]
	}
	host := normalHost(withoutPort(rest))
	return host, host != "" && !strings.ContainsAny(host, " ")
}

func splitScheme(s string) (string, string) {
	colon := strings.IndexByte(s, ':')
	if colon <= 0 {
		return "", s
	}
	for i := range colon {
		c := s[i]
		letter := c|0x20 >= 'a' && c|0x20 <= 'z'
		if !letter && (i == 0 || !(c >= '0' && c <= '9' || c == '+' || c == '-' || c == '.')) {
			return "", s
		}
	}
	return strings.ToLower(s[:colon]), s[colon+1:]
}

// isWeb reports schemes whose URLs have an authority however many slashes are written.
func isWeb(scheme string) bool {
	switch scheme {
	case "http", "https", "ws", "wss", "ftp":
		return true
	}
	return false
}

func withoutPort(authority string) string {
	if strings.HasPrefix(authority, "[") {
		if end := strings.IndexByte(authority, ']'); end > 0 {
			return authority[1:end]
		}
	}
	if colon := strings.LastIndexByte(authority, ':'); colon >= 0 {
		return authority[:colon]
	}
	return authority
}

func normalHost(host string) string {
	if decoded, err := url.PathUnescape(host); err == nil {
		host = decoded
	}
	host = strings.Map(func(r rune) rune {
		switch {
		case r == '\u3002' || r == '\uff61':
			return '.'
		case r >= '\uff01' && r <= '\uff5e':
			return r - 0xfee0
		case r == '\u00ad' || r == '\u200b' || r == '\ufeff':
			return -1
		}
		return r
	}, host)
	return strings.TrimRight(strings.ToLower(host), ".")
}
