package config

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// truthy is the lenient boolean of the service: everything that is not a yes is a no.
func truthy(raw string) bool {
	switch strings.ToLower(strings.TrimSpace(raw)) {
	case "1", "true", "yes", "on":
		return true
	}
	return false
}

func boolean(field func(*Config) *bool) func(*Config, string, bool) error {
	return func(c *Config, raw string, _ bool) error {
		*field(c) = truthy(raw)
		return nil
	}
}

func strictBoolean(name string, field func(*Config) *bool) func(*Config, string, bool) error {
	return func(c *Config, raw string, _ bool) error {
		switch strings.ToLower(strings.TrimSpace(raw)) {
		case "1", "true", "yes", "on":
			*field(c) = true
		case "0", "false", "no", "off":
			*field(c) = false
		default:
			return fmt.Errorf("%s must be a boolean (true/false).", name) //nolint:revive,staticcheck // the documented text
		}
		return nil
	}
}

func text(field func(*Config) *string) func(*Config, string, bool) error {
	return func(c *Config, raw string, _ bool) error {
		*field(c) = raw
		return nil
	}
}

func list(field func(*Config) *[]string) func(*Config, string, bool) error {
	return func(c *Config, raw string, _ bool) error {
		*field(c) = splitList(raw)
		return nil
	}
}

func splitList(raw string) []string {
	var out []string
	for _, item := range strings.Split(raw, ",") {
		if item = strings.TrimSpace(item); item != "" {
			out = append(out, item)
		}
	}
	return out
}

// integer parses a whole number that is at least low; tooLow is the error text below it.
func integer(name string, low int64, tooLow string, field func(*Config) *int64) func(*Config, string, bool) error {
	return func(c *Config, raw string, _ bool) error {
		n, err := wholeNumber(name, raw)
		if err != nil {
			return err
		}
		if n < low {
			return errors.New(tooLow)
		}
		*field(c) = n
		return nil
	}
}

func wholeNumber(name, raw string) (int64, error) {
	n, err := strconv.ParseInt(strings.ReplaceAll(strings.TrimSpace(raw), "_", ""), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s must be an integer.", name) //nolint:revive,staticcheck // the documented text
	}
	return n, nil
}

func positive(name string, field func(*Config) *int64) func(*Config, string, bool) error {
	return integer(name, 1, name+" must be greater than zero.", field)
}

func atLeastZero(name string, field func(*Config) *int64) func(*Config, string, bool) error {
	return integer(name, 0, name+" must be zero or greater.", field)
}

// wholeSeconds parses a number of seconds into a duration.
func wholeSeconds(name string, low int64, tooLow string, field func(*Config) *time.Duration) func(*Config, string, bool) error {
	return func(c *Config, raw string, _ bool) error {
		var n int64
		if err := integer(name, low, tooLow, func(*Config) *int64 { return &n })(c, raw, true); err != nil {
			return err
		}
		*field(c) = clampSeconds(float64(n))
		return nil
	}
}

// clampSeconds turns seconds into a duration; what does not fit is the longest one.
func clampSeconds(s float64) time.Duration {
	if s >= float64(math.MaxInt64)/float64(time.Second) {
		return math.MaxInt64
	}
	return time.Duration(s * float64(time.Second))
}

func number(name, raw string) (float64, error) {
	f, err := strconv.ParseFloat(strings.ReplaceAll(strings.TrimSpace(raw), "_", ""), 64)
	switch {
	case err != nil && !errors.Is(err, strconv.ErrRange):
		return 0, fmt.Errorf("%s must be a number.", name) //nolint:revive,staticcheck // the documented text
	case math.IsInf(f, 0) || math.IsNaN(f):
		return 0, fmt.Errorf("%s must be a finite number.", name) //nolint:revive,staticcheck // the documented text
	}
	return f, nil
}

// seconds parses a fractional number of seconds. A blank value leaves 0, which means none.
func seconds(name string, allowZero bool, tooLow string, field func(*Config) *time.Duration) func(*Config, string, bool) error {
	return func(c *Config, raw string, _ bool) error {
		if raw == "" {
			return nil
		}
		f, err := number(name, raw)
		if err != nil {
			return err
		}
		if f < 0 || f == 0 && !allowZero {
			return errors.New(tooLow)
		}
		*field(c) = clampSeconds(f)
		return nil
	}
}

func days(name string, field func(*Config) **int64) func(*Config, string, bool) error {
	return func(c *Config, raw string, _ bool) error {
		if raw == "" {
			return nil
		}
		n, err := wholeNumber(name, raw)
		if err != nil {
			return err
		}
		if n < 0 {
			return fmt.Errorf("%s must be zero or greater.", name) //nolint:revive,staticcheck // the documented text
		}
		*field(c) = &n
		return nil
	}
}

// statuses parses a list of terminal statuses.
func statuses(name, label string, allowed []string, field func(*Config) *[]string) func(*Config, string, bool) error {
	return func(c *Config, raw string, _ bool) error {
		items := splitList(raw)
		if len(items) == 0 {
			return fmt.Errorf("%s must list at least one status.", name) //nolint:revive,staticcheck // the documented text
		}
		var bad []string
		for _, item := range items {
			known := false
			for _, a := range allowed {
				known = known || a == item
			}
			if !known {
				bad = append(bad, "'"+item+"'")
			}
		}
		if len(bad) > 0 {
			return fmt.Errorf("%s may only contain terminal statuses ['%s']; got non-terminal [%s] (check %s). "+
				"Pruning a non-terminal status would delete live in-flight records.", //nolint:revive,staticcheck // the documented text
				label, strings.Join(allowed, "', '"), strings.Join(bad, ", "), name)
		}
		*field(c) = items
		return nil
	}
}

// logLevels are the accepted names.
var logLevels = map[string]bool{
	"DEBUG": true, "INFO": true, "WARNING": true, "WARN": true, "ERROR": true, "CRITICAL": true, "FATAL": true, "NOTSET": true,
}

func logLevel(c *Config, raw string, _ bool) error {
	name := strings.ToUpper(strings.TrimSpace(raw))
	if !logLevels[name] {
		return fmt.Errorf("Invalid KNEO_SERV_LOG_LEVEL: %s", raw) //nolint:revive,staticcheck // the documented text
	}
	c.Observe.LogLevel = name
	return nil
}

func tokenBudget(c *Config, raw string, _ bool) error {
	if n, err := strconv.ParseInt(strings.TrimSpace(raw), 10, 64); err == nil && n > 0 {
		c.Specs.TokenBudget = n
	}
	return nil
}

func synchronous(c *Config, raw string, _ bool) error {
	switch mode := strings.ToUpper(strings.TrimSpace(raw)); mode {
	case "FULL", "NORMAL":
		c.Storage.Synchronous = mode
		return nil
	default:
		return fmt.Errorf("KNEO_SERV_SQLITE_SYNCHRONOUS must be FULL or NORMAL, not %q", raw)
	}
}

func logFormat(c *Config, raw string, _ bool) error {
	c.Observe.LogFormat = strings.ToLower(strings.TrimSpace(raw))
	if c.Observe.LogFormat != "json" && c.Observe.LogFormat != "text" {
		return fmt.Errorf("KNEO_SERV_LOG_FORMAT must be json or text; got %q", raw)
	}
	return nil
}
