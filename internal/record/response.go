package record

import (
	"encoding/json"
	"strconv"

	"github.com/kneo-go/kneo/internal/problem"
	"github.com/kneo-go/kneo/internal/redact"
	"github.com/kneo-go/kneo/internal/run"
)

func appendFloat(f float64) []byte { return strconv.AppendFloat(nil, f, 'f', -1, 64) }

// Reply is what answers a leg. Metadata is redacted already.
type Reply struct {
	RunID          string
	Status         run.Status
	Output         *string
	ContinuationID *string
	Metadata       json.RawMessage
}

// CreateResponse renders the body of POST /runs, /specs/run and /runs/{id}/continue.
func CreateResponse(r Reply) json.RawMessage {
	o := open(make([]byte, 0, len(r.Metadata)+256))
	o.str("run_id", r.RunID)
	o.str("status", string(r.Status))
	o.optText("output_text", r.Output)
	o.bool("human_intervention_required", r.Status == run.Blocked)
	o.opt("continuation_id", r.ContinuationID)
	o.raw("metadata", r.Metadata, "{}")
	return o.close()
}

// ResumeResponse renders the body of POST /human-tasks/{id}/resume.
func ResumeResponse(r Reply) json.RawMessage {
	o := open(make([]byte, 0, len(r.Metadata)+256))
	o.str("run_id", r.RunID)
	o.str("status", string(r.Status))
	o.optText("output_text", r.Output)
	o.raw("metadata", r.Metadata, "{}")
	return o.close()
}

// Problem renders the error envelope of a typed error, as it is stored under an idempotency key.
func Problem(p *problem.Error) json.RawMessage {
	detail := open(nil)
	detail.str("error", string(p.Code))
	detail.str("message", p.Message)
	for _, f := range p.Fields {
		raw, err := json.Marshal(f.Value)
		if err != nil {
			continue
		}
		detail.raw(f.Key, raw, "null")
	}
	if p.RunID != "" && !hasField(p, "run_id") {
		detail.str("run_id", p.RunID)
	}
	o := open(nil)
	o.raw("detail", detail.close(), "{}")
	return o.close()
}

func hasField(p *problem.Error, key string) bool {
	for _, f := range p.Fields {
		if f.Key == key {
			return true
		}
	}
	return false
}

// ProblemStatus is the HTTP status of the failures that keep their own (decision W4).
func ProblemStatus(code problem.Code) int {
	switch code {
	case problem.GuardrailViolation:
		return 422
	case problem.TokenBudgetExceeded:
		return 400
	case problem.MissingSecret:
		return 424
	}
	return 500
}

// Mask redacts a JSON object by key and by text.
func Mask(raw json.RawMessage) json.RawMessage { return redact.JSON(raw) }
