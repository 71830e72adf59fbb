package client

import (
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"time"
)

// Variables that FromEnv reads.
const (
	EnvURL     = "KNEO_URL"
	EnvAPIKey  = "KNEO_API_KEY"
	EnvTimeout = "KNEO_TIMEOUT"
)

// FromEnv dials the service of KNEO_URL with the key of KNEO_API_KEY and the time limit of KNEO_TIMEOUT (seconds). What the options name wins.
func FromEnv(o Options) (*Client, error) {
	url := strings.TrimSpace(os.Getenv(EnvURL))
	if url == "" {
		return nil, fmt.Errorf("client: %s is not set; set it to the address of the service, for example http://localhost:8000", EnvURL)
	}
	if o.APIKey == "" {
		o.APIKey = strings.TrimSpace(os.Getenv(EnvAPIKey))
	}
	if text := os.Getenv(EnvTimeout); text != "" && o.Timeout == 0 {
		seconds, err := strconv.ParseFloat(text, 64)
		if err != nil || seconds <= 0 || math.IsInf(seconds, 0) || math.IsNaN(seconds) {
			return nil, fmt.Errorf("client: %s must be a number of seconds above zero, got %q", EnvTimeout, text)
		}
		o.Timeout = time.Duration(seconds * float64(time.Second))
	}
	return Dial(url, o)
}
