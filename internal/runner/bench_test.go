package runner_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/kneo-go/kneo/internal/run"
	"github.com/kneo-go/kneo/internal/testkit"
)

// loopSpec is a graph that runs one function over and over.
func loopSpec(steps int) string {
	return fmt.Sprintf(`{"version":"v1","agent":{"name":"root"},"components":{"functions":{"f":{"implementation":"kit.functions.identity"}}},
 "workflow":{"type":"graph","name":"w","start":"n","max_steps":%d,"nodes":{"n":{"id":"n","kind":"function","ref":"f"}},"edges":[{"from":"n","to":"n"}]}}`, steps)
}

func chainSpec(steps int) string {
	var list []string
	for i := range steps {
		list = append(list, fmt.Sprintf(`{"id":"s%d","kind":"agent","ref":"a"}`, i))
	}
	return `{"version":"v1","agent":{"name":"root"},"components":{"agents":{"a":{"name":"a","defaults":{"append_mode":"never"}}}},
 "workflow":{"type":"sequential","name":"w","steps":[` + strings.Join(list, ",") + `]}}`
}

func concurrentSpec(branches int) string {
	return strings.Replace(strings.Replace(chainSpec(branches), "sequential", "concurrent", 1), `"steps"`, `"participants"`, 1)
}

// BenchmarkRuns measures whole runs, one after another, on SQLite.
func BenchmarkRuns(bb *testing.B) {
	for _, k := range []struct{ name, spec, target string }{
		{"agent", `{"version":"v1","agent":{"name":"solo"}}`, "agent"},
		{"sequential3", chainSpec(3), "workflow"},
		{"graph5", loopSpec(5), "workflow"},
		{"concurrent8", concurrentSpec(8), "workflow"},
	} {
		bb.Run(k.name, func(bb *testing.B) {
			b := testkit.NewBench(bb)
			e := b.Executor(0)
			snapshot := b.Compile(k.spec)
			bb.ResetTimer()
			for range bb.N {
				c, err := e.Create(snapshot, k.target, "hello", run.ModeInline)
				if err != nil {
					bb.Fatal(err)
				}
				if out := e.Execute(context.Background(), c, nil); out.Err != nil {
					bb.Fatal(out.Err)
				}
			}
		})
	}
}

// BenchmarkLongLoop shows what a step costs in runs of different length.
func BenchmarkLongLoop(bb *testing.B) {
	for _, steps := range []int{100, 500, 2000} {
		bb.Run(fmt.Sprint(steps), func(bb *testing.B) {
			b := testkit.NewBench(bb)
			e := b.Executor(0)
			snapshot := b.Compile(loopSpec(steps))
			var spent time.Duration
			for range bb.N {
				c, err := e.Create(snapshot, "workflow", "hello", run.ModeInline)
				if err != nil {
					bb.Fatal(err)
				}
				begun := time.Now()
				e.Execute(context.Background(), c, nil)
				spent += time.Since(begun)
			}
			bb.ReportMetric(float64(spent.Microseconds())/float64(bb.N*steps), "µs/step")
		})
	}
}
