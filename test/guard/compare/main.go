// Command compare reads the output of two runs of the same benchmarks and prints the ratio of what they cost. It fails when a benchmark allocates
// notably more often than before. Times are shown and judge nothing.
//
//	compare BEFORE AFTER
//
// It imports the standard library only.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A benchmark may allocate this much more than before: background work of the service falls into some runs and not into others.
const (
	tolerance = 1.10
	slack     = 8.0
)

// cost is what one operation takes.
type cost struct{ time, bytes, allocations float64 }

func main() {
	if err := command(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1)
	}
}

func command(args []string, out io.Writer) error {
	if len(args) != 2 {
		return errors.New("usage: compare BEFORE AFTER")
	}
	before, err := read(args[0])
	if err != nil {
		return err
	}
	after, err := read(args[1])
	if err != nil {
		return err
	}
	return compare(before, after, out)
}

func read(path string) (costs map[string]cost, err error) {
	f, err := os.Open(path) //nolint:gosec // a file that the caller names
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return parse(f)
}

// processors is the suffix with the number of processors in the name of a benchmark.
var processors = regexp.MustCompile(`-\d+$`)

// parse reads the lines of benchmarks. Of several runs of the same one it keeps the cheapest.
func parse(r io.Reader) (map[string]cost, error) {
	costs := map[string]cost{}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") {
			continue
		}
		var c cost
		for i := 2; i+1 < len(fields); i += 2 {
			v, err := strconv.ParseFloat(fields[i], 64)
			if err != nil {
				return nil, fmt.Errorf("%q: %w", lines.Text(), err)
			}
			switch fields[i+1] {
			case "ns/op":
				c.time = v
			case "B/op":
				c.bytes = v
			case "allocs/op":
				c.allocations = v
			}
		}
		name := processors.ReplaceAllString(fields[0], "")
		if old, ok := costs[name]; ok {
			c = cost{min(c.time, old.time), min(c.bytes, old.bytes), min(c.allocations, old.allocations)}
		}
		costs[name] = c
	}
	return costs, lines.Err()
}

func compare(before, after map[string]cost, out io.Writer) error {
	if len(after) == 0 {
		return errors.New("no benchmarks in the results")
	}
	var names, worse []string
	for name := range after {
		names = append(names, name)
	}
	slices.Sort(names)
	rows := []string{fmt.Sprintf("%-40s %12s %12s %8s %8s %8s\n", "benchmark", "allocs", "before", "ratio", "bytes", "time")}
	for _, name := range names {
		a := after[name]
		b, ok := before[name]
		if !ok {
			rows = append(rows, fmt.Sprintf("%-40s %12.0f %12s\n", name, a.allocations, "new"))
			continue
		}
		mark := ""
		if a.allocations > b.allocations*tolerance+slack {
			mark = "  WORSE"
			worse = append(worse, name)
		}
		rows = append(rows, fmt.Sprintf("%-40s %12.0f %12.0f %8.2f %8.2f %8.2f%s\n", name, a.allocations, b.allocations,
			ratio(a.allocations, b.allocations), ratio(a.bytes, b.bytes), ratio(a.time, b.time), mark))
	}
	if _, err := io.WriteString(out, strings.Join(rows, "")); err != nil {
		return err
	}
	if len(worse) > 0 {
		return fmt.Errorf("more allocations than before: %s", strings.Join(worse, ", "))
	}
	return nil
}

func ratio(a, b float64) float64 {
	if b == 0 {
		return 1
	}
	return a / b
}
