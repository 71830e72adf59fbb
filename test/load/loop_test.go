package main

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestTimesSendsExactly(t *testing.T) {
	var sent atomic.Int64
	open := func(int) (Op, func(), error) {
		return func(context.Context, int) error {
			if sent.Add(1)%10 == 0 {
				return errors.New("refused")
			}
			return nil
		}, func() {}, nil
	}
	r, err := Times(t.Context(), open, 7, 100)
	if err != nil {
		t.Fatal(err)
	}
	if r.Requests != 100 || sent.Load() != 100 || r.Failed != 10 || r.FirstError == nil {
		t.Errorf("%+v, %d sent", r, sent.Load())
	}
}

// TestOpenLoopCountsWaiting has a server that stalls once: requests that were due meanwhile must show it.
func TestOpenLoopCountsWaiting(t *testing.T) {
	const stall = 300 * time.Millisecond
	open := func(int) (Op, func(), error) {
		return func(ctx context.Context, n int) error {
			if n == 10 {
				wait, cancel := context.WithTimeout(ctx, stall)
				defer cancel()
				<-wait.Done()
			}
			return nil
		}, func() {}, nil
	}
	r, err := OpenLoop(t.Context(), open, 1, 200, 500*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if r.Requests != 100 {
		t.Errorf("%d requests, want 100", r.Requests)
	}
	// 60 requests were due during the stall; half of them waited at least half of it.
	if got := r.Quantile(75); got < 100 {
		t.Errorf("the 75th percentile is %.1f ms and hides the stall", got)
	}
}

func TestConnection(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/chunked":
			for range 3 {
				_, _ = w.Write([]byte(strings.Repeat("x", 3000)))
				w.(http.Flusher).Flush()
			}
		case "/close":
			w.Header().Set("Connection", "close")
			_, _ = w.Write([]byte("bye"))
		case "/empty":
			w.WriteHeader(http.StatusNoContent)
		default:
			w.WriteHeader(http.StatusTeapot)
			_, _ = w.Write([]byte(r.Header.Get("X-API-Key") + r.Header.Get("Idempotency-Key")))
		}
	}))
	defer server.Close()
	c, err := connect(server.URL, "key")
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	for _, want := range []struct {
		path   string
		status int
		body   string
	}{
		{"/chunked", 200, strings.Repeat("x", 9000)}, {"/echo", 418, "keyone"}, {"/close", 200, "bye"}, {"/echo", 418, "keyone"}, {"/empty", 204, ""},
	} {
		status, body, err := c.do(t.Context(), "POST", want.path, "Idempotency-Key: one\r\n", []byte("{}"))
		if err != nil || status != want.status || string(body) != want.body {
			t.Errorf("%s: status %d, %d bytes, %v", want.path, status, len(body), err)
		}
	}
}

func TestTable(t *testing.T) {
	table := Table{
		Columns: []string{"Kneo, SQLite", "Kneo, PostgreSQL", "reference, SQLite", "reference, PostgreSQL"},
		Rows: []TableRow{
			{Row: "c", figure: figure{name: "run", unit: ms, lower: true, gate: "≤ 2"}, Rounds: [][]float64{{1, 9, 2}, {4}, {20}, {}}},
			{Row: "c", figure: figure{name: "runs", unit: perSecond}, Rounds: [][]float64{{1500}, {900}, {50}, {45}}},
		},
	}
	want := "\n| | figure | goal | Kneo, SQLite | times better | Kneo, PostgreSQL | times better | reference, SQLite | reference, PostgreSQL |\n" +
		"|---|---|---|---:|---:|---:|---:|---:|---:|\n" +
		"| c | run (ms) | ≤ 2 | 2.00 | 10.0× | 4.00 | – | 20.0 | – |\n" +
		"| c | runs (per second) |  | 1,500 | 30.0× | 900 | 20.0× | 50.0 | 45.0 |\n"
	if got := table.Markdown(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestRenamedIDs(t *testing.T) {
	const a = "0192f0c1-2b3c-4d5e-8f90-a1b2c3d4e5f6"
	one, again, other := renameIDs(`{"id":"`+a+`"}`, 1), renameIDs(`{"id":"`+a+`"}`, 1), renameIDs(`{"id":"`+a+`"}`, 2)
	if one != again || one == other || strings.Contains(one, a) || len(one) != len(other) {
		t.Errorf("%s %s %s", one, again, other)
	}
	if text := "no-ids here-at all"; renameIDs(text, 1) != text {
		t.Error("other text changed")
	}
}
