package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// member is a text of a JSON object, "" when it has none.
func member(raw []byte, name string) string {
	var o map[string]json.RawMessage
	var text string
	if json.Unmarshal(raw, &o) != nil || json.Unmarshal(o[name], &text) != nil {
		return ""
	}
	return text
}

// readRuns is how many runs are read in turn.
const readRuns = 50

func reads(ctx context.Context, b *bench) (out []float64, err error) {
	err = b.with(ctx, func(s *server) error {
		t := s.target()
		ids, _, err := t.submit(ctx, 8, readRuns)
		if err != nil {
			return err
		}
		if _, err := t.settled(ctx, 20*time.Millisecond, drainLimit); err != nil {
			return err
		}
		var rows, histories []string
		for _, id := range ids {
			rows = append(rows, "/v1/runs/"+id)
			histories = append(histories, "/v1/runs/"+id+"/checkpoints")
		}
		got, _, err := b.loop(ctx, s, t.get(rows...), 16)
		if err != nil {
			return err
		}
		history, _, err := b.loop(ctx, s, t.get(histories...), 16)
		out = []float64{got.PerSecond(), got.Quantile(99), history.PerSecond()}
		return err
	})
	return out, err
}

func lists(ctx context.Context, b *bench) (out []float64, err error) {
	err = b.with(ctx, func(s *server) error {
		if err := b.fill(ctx, s); err != nil {
			return err
		}
		t := s.target() // filling may have started the server again
		all, _, err := b.loop(ctx, s, t.get("/v1/runs?limit=100"), 1)
		if err != nil {
			return err
		}
		some, _, err := b.loop(ctx, s, t.get("/v1/runs?limit=100&status=completed"), 1)
		out = []float64{all.Quantile(50), some.Quantile(50)}
		return err
	})
	return out, err
}

// fill brings the server to the number of stored runs for lists. The reference would take minutes to run them, so its database is multiplied.
func (b *bench) fill(ctx context.Context, s *server) error {
	t := s.target()
	n := b.listRuns
	if b.kind.reference {
		n = min(n, 100)
	}
	if _, r, err := t.submit(ctx, 32, n); err != nil || r.Failed > 0 {
		return fmt.Errorf("fill: %w", firstOf(err, r.FirstError))
	}
	if _, err := t.settled(ctx, 100*time.Millisecond, drainLimit); err != nil {
		return err
	}
	if n == b.listRuns {
		return nil
	}
	if b.kind.database != nil {
		return errSkip
	}
	if err := s.kill(); err != nil {
		return err
	}
	if err := multiply(ctx, s.database(), b.listRuns/n); err != nil {
		return err
	}
	return s.start(ctx)
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func replays(ctx context.Context, b *bench) (out []float64, err error) {
	err = b.with(ctx, func(s *server) error {
		open := s.target().requests("POST", "/v1/runs", "Idempotency-Key: load-1\r\n", runBody(soloSpec(), false), 200)
		if _, err := Times(ctx, open, 1, 1); err != nil {
			return err
		}
		one, _, err := b.loop(ctx, s, open, 1)
		if err != nil {
			return err
		}
		many, _, err := b.loop(ctx, s, open, 16)
		out = []float64{many.PerSecond(), one.Quantile(50)}
		return err
	})
	return out, err
}

// validation measures checks and compilations of specs: new texts, which no cache knows, and one text again and again.
func validation(ctx context.Context, b *bench) (out []float64, err error) {
	err = b.with(ctx, func(s *server) error {
		t := s.target()
		spec := largeSpec(200 << 10)
		for _, path := range []string{"/v1/specs/validate", "/v1/specs/compile"} {
			if err := t.accepts(ctx, path, spec); err != nil {
				return err
			}
			fresh, _, err := b.loop(ctx, s, t.varied(path, spec), 16)
			if err != nil {
				return err
			}
			one, _, err := b.loop(ctx, s, t.varied(path, spec), 1)
			if err != nil {
				return err
			}
			known, _, err := b.loop(ctx, s, t.post(path, encode(object{"spec": spec}), 200), 16)
			if err != nil {
				return err
			}
			out = append(out, fresh.PerSecond(), one.Quantile(50), known.PerSecond())
		}
		small, _, err := b.loop(ctx, s, t.varied("/v1/specs/validate", soloSpec()), 16)
		out = append(out, small.PerSecond())
		return err
	})
	return out, err
}

// accepts makes sure that the spec is good, so that no early refusal is measured.
func (t target) accepts(ctx context.Context, path string, spec object) error {
	var answer struct {
		Valid *bool `json:"valid"`
	}
	if err := t.call(ctx, "POST", path, encode(object{"spec": spec}), &answer); err != nil {
		return err
	}
	if answer.Valid != nil && !*answer.Valid {
		return fmt.Errorf("%s refuses the spec that is measured", path)
	}
	return nil
}

// varied posts a spec with another description each time, so that no cache of whole requests answers.
func (t target) varied(path string, spec object) Open {
	return func(caller int) (Op, func(), error) {
		c, err := connect(t.url, t.key)
		if err != nil {
			return nil, nil, err
		}
		const mark = "description-000000000000"
		copied := object{}
		for k, v := range spec {
			copied[k] = v
		}
		copied["metadata"] = object{"description": mark}
		body := encode(object{"spec": copied})
		var digits []byte
		for i := range len(body) - len(mark) {
			if string(body[i:i+len(mark)]) == mark {
				digits = body[i+len(mark)-12 : i+len(mark)]
				break
			}
		}
		return func(ctx context.Context, n int) error {
			copy(digits, fmt.Sprintf("%04d%08d", caller, n))
			return expect(200)(c.do(ctx, "POST", path, "", body))
		}, c.close, nil
	}
}
