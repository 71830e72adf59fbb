package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// errSkip tells that a figure cannot be measured on this kind of server.
var errSkip = errors.New("not measured here")

// crash kills a server while it drains its queue, starts it again, and looks at what became of every run.
func crash(ctx context.Context, b *bench) (out []float64, err error) {
	n, lease := 3000, "300"
	if b.kind.reference {
		// With its default lease the reference would be silent for five minutes.
		n, lease = 60, "5"
	}
	s, err := newServer(ctx, b.kind, "KNEO_SERV_WORKER_LEASE_SECONDS="+lease)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	ids, left, err := b.killedInDrain(ctx, s, n)
	if err != nil {
		return nil, err
	}
	if err := s.start(ctx); err != nil {
		return nil, err
	}
	t := s.target()
	end, err := t.settled(ctx, 10*time.Millisecond, drainLimit)
	if err != nil {
		return nil, err
	}
	took := end.Sub(s.begun)
	a, err := t.inspect(ctx, ids)
	if err != nil {
		return nil, err
	}
	return []float64{took.Seconds() * 1000, float64(left), float64(a.lost), float64(a.twice)}, nil
}

// killedInDrain queues runs and kills the server when half of them have ended. It returns the ids that were acknowledged.
func (b *bench) killedInDrain(ctx context.Context, s *server, n int) (ids []string, left int, err error) {
	t := s.target()
	if !b.kind.reference {
		p, err := newPlug(ctx)
		if err != nil {
			return nil, 0, err
		}
		defer func() { err = errors.Join(err, p.close()) }()
		if err := t.call(ctx, "POST", "/v1/runs", p.body(), nil); err != nil {
			return nil, 0, err
		}
		<-p.called
		defer p.pull()
		if ids, _, err = t.submit(ctx, 32, n); err != nil {
			return nil, 0, err
		}
		p.pull()
	} else if ids, _, err = t.submit(ctx, 16, n); err != nil {
		return nil, 0, err
	}
	for {
		left, err = t.unfinished(ctx)
		if err != nil {
			return nil, 0, err
		}
		if left == 0 {
			return nil, 0, fmt.Errorf("%d runs ended before the kill", n)
		}
		if b.kind.reference || left <= n/2 {
			return ids, left, s.kill()
		}
	}
}

// aftermath counts what a crash must not do.
type aftermath struct{ lost, twice int }

func (t target) inspect(ctx context.Context, ids []string) (aftermath, error) {
	var a aftermath
	c, err := connect(t.url, t.key)
	if err != nil {
		return a, err
	}
	defer c.close()
	for _, id := range ids {
		status, answer, err := c.do(ctx, "GET", "/v1/runs/"+id, "", nil)
		if err != nil {
			return a, err
		}
		if status != 200 || member(answer, "status") != "completed" {
			a.lost++
			continue
		}
		var page struct {
			Checkpoints []struct {
				Type string `json:"type"`
			} `json:"checkpoints"`
		}
		if err := t.call(ctx, "GET", "/v1/runs/"+id+"/checkpoints", nil, &page); err != nil {
			return a, err
		}
		seen := map[string]int{}
		for _, row := range page.Checkpoints {
			seen[row.Type]++
		}
		if seen["run_completed"] > 1 {
			a.twice++
		}
		if seen["run_completed"] == 0 {
			return a, fmt.Errorf("run %s is completed and has no row that says so among %s", id, strconv.Itoa(len(page.Checkpoints)))
		}
	}
	return a, nil
}
