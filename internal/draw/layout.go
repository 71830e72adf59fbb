package draw

// layers puts every node on the line after the last of those before it, on a longest path from the first nodes; arrows back do not count.
// Nodes of a line keep their declared order.
func layers(p Picture) [][]int {
	index := make(map[string]int, len(p.Nodes))
	for i := range p.Nodes {
		index[p.Nodes[i].ID] = i
	}
	next := make([][]int, len(p.Nodes))
	entered := make([]bool, len(p.Nodes))
	for _, e := range p.Edges {
		from, okFrom := index[e.From]
		to, okTo := index[e.To]
		if okFrom && okTo && from != to {
			next[from] = append(next[from], to)
			entered[to] = true
		}
	}
	order := forward(next, entered)
	level := make([]int, len(p.Nodes))
	place := make([]int, len(p.Nodes))
	for i, n := range order {
		place[n] = i
	}
	deepest := 0
	for _, n := range order {
		for _, to := range next[n] {
			if place[to] > place[n] {
				level[to] = max(level[to], level[n]+1)
				deepest = max(deepest, level[to])
			}
		}
	}
	out := make([][]int, deepest+1)
	for i, l := range level {
		out[l] = append(out[l], i)
	}
	return out
}

// forward is a topological order that ignores the arrows back of a depth-first walk.
func forward(next [][]int, entered []bool) []int {
	seen := make([]bool, len(next))
	var reversed []int
	var walk func(n int)
	walk = func(n int) {
		seen[n] = true
		for i := len(next[n]) - 1; i >= 0; i-- {
			if to := next[n][i]; !seen[to] {
				walk(to)
			}
		}
		reversed = append(reversed, n)
	}
	for _, roots := range []bool{true, false} {
		for n := len(next) - 1; n >= 0; n-- {
			if !seen[n] && entered[n] != roots {
				walk(n)
			}
		}
	}
	out := make([]int, len(reversed))
	for i, n := range reversed {
		out[len(reversed)-1-i] = n
	}
	return out
}
