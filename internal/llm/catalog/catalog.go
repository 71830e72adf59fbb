// Package catalog lists the providers of the platform: adding one is a package beside it and a line here. Only assemblies import it.
package catalog

import (
	"github.com/kneo-go/kneo/internal/llm"
	"github.com/kneo-go/kneo/internal/llm/anthropic"
	"github.com/kneo-go/kneo/internal/llm/dummy"
	"github.com/kneo-go/kneo/internal/llm/exchange"
	"github.com/kneo-go/kneo/internal/llm/google"
	"github.com/kneo-go/kneo/internal/llm/openai"
)

// Options returns registry options with all providers under the deployment's retry policy; the caller adds secrets and switches.
func Options(policy exchange.Policy) llm.RegistryOptions {
	calls := func(open llm.Factory) llm.Factory {
		return func(e llm.Endpoint) (llm.Provider, error) {
			p, err := open(e)
			if err != nil {
				return nil, err
			}
			return exchange.Retry(p, policy), nil
		}
	}
	compatible := llm.Definition{Open: calls(openai.Open)}
	return llm.RegistryOptions{
		Definitions: map[string]llm.Definition{
			dummy.Name:      {Open: dummy.Open, KeyFree: true},
			openai.Name:     {Open: calls(openai.Open)},
			"openai-agents": {Open: calls(openai.Open)},
			openai.Ollama:   {Open: calls(openai.Open), KeyFree: true, DefaultBaseURL: openai.OllamaBaseURL},
			anthropic.Name:  {Open: calls(anthropic.Open)},
			google.Name:     {Open: calls(google.Open)},
			"google-adk":    {Open: calls(google.Open)},
			"gemini":        {Open: calls(google.Open)},
		},
		Compatible: &compatible,
	}
}
