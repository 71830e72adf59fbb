package handler

import (
	"cmp"
	"slices"
	"strings"
)

// Nearest returns up to n names that look like name, the most similar first. Names of the same module or with the same last part count as
// similar even when the rest differs.
func Nearest(name string, names []string, n int) []string {
	name = Canonical(name)
	type candidate struct {
		name string
		cost int
	}
	var found []candidate
	for _, other := range names {
		if cost, ok := resemblance(name, other); ok {
			found = append(found, candidate{other, cost})
		}
	}
	slices.SortFunc(found, func(a, b candidate) int { return cmp.Or(cmp.Compare(a.cost, b.cost), strings.Compare(a.name, b.name)) })
	var out []string
	for _, c := range found[:min(n, len(found))] {
		out = append(out, c.name)
	}
	return out
}

func resemblance(name, other string) (int, bool) {
	cost := distance(strings.ToLower(name), strings.ToLower(other))
	module, last := split(name)
	otherModule, otherLast := split(other)
	switch {
	case module != "" && module == otherModule, last == otherLast:
		return cost, true
	default:
		return cost, cost <= max(2, len(name)/3)
	}
}

func split(name string) (module, last string) {
	if i := strings.LastIndexByte(name, '.'); i >= 0 {
		return name[:i], name[i+1:]
	}
	return "", name
}

// distance is the Levenshtein distance in bytes; names longer than 256 bytes are cut, they are never near anything.
func distance(a, b string) int {
	a, b = a[:min(len(a), 256)], b[:min(len(b), 256)]
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			substitute := diagonal
			if a[i] != b[j] {
				substitute++
			}
			diagonal = row[j+1]
			row[j+1] = min(substitute, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
