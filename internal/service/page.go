package service

import (
	"cmp"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
)

// Window is how many of the newest items paging can reach.
const Window = 10000

// Page selects a part of a list.
type Page struct {
	Limit, Offset int
	// SortBy is a dotted path into the item; empty keeps the order of the store.
	SortBy string
	Desc   bool
}

// Listing is one page of a list.
type Listing[T any] struct {
	Items []T
	// Total is the number of all matching items.
	Total int64
}

// cut returns the page of items that are already in order.
func cut[T any](items []T, p Page) []T {
	if p.Offset >= len(items) {
		return nil
	}
	return items[p.Offset:min(len(items), p.Offset+p.Limit)]
}

// Ranks of sort keys: numbers and booleans, then strings, then other values, then what is missing.
const (
	rankNumber = iota
	rankText
	rankOther
	rankMissing
)

// sortKey is one comparable value.
type sortKey struct {
	rank   int
	number float64
	text   string
}

func keyOf(raw json.RawMessage) sortKey {
	if isNull(raw) {
		return sortKey{rank: rankMissing}
	}
	switch raw[0] {
	case '"':
		s, _ := text(raw)
		return sortKey{rank: rankText, text: s}
	case '{', '[':
		return sortKey{rank: rankOther, text: string(raw)}
	case 't':
		return sortKey{rank: rankNumber, number: 1}
	case 'f':
		return sortKey{rank: rankNumber}
	}
	n, err := strconv.ParseFloat(string(raw), 64)
	if err != nil {
		return sortKey{rank: rankOther, text: string(raw)}
	}
	return sortKey{rank: rankNumber, number: n}
}

func (k sortKey) compare(o sortKey) int {
	if c := cmp.Compare(k.rank, o.rank); c != 0 {
		return c
	}
	if c := cmp.Compare(k.number, o.number); c != 0 {
		return c
	}
	return strings.Compare(k.text, o.text)
}

// sortItems orders items by a dotted path into what render returns for each; equal items keep their order in both directions.
func sortItems[T any](items []T, p Page, render func(*T) json.RawMessage) {
	if p.SortBy == "" || len(items) < 2 {
		return
	}
	type keyed struct {
		key  sortKey
		item T
	}
	all := make([]keyed, len(items))
	for i := range items {
		all[i] = keyed{key: keyOf(path(render(&items[i]), p.SortBy)), item: items[i]}
	}
	slices.SortStableFunc(all, func(a, b keyed) int {
		if p.Desc {
			return b.key.compare(a.key)
		}
		return a.key.compare(b.key)
	})
	for i := range all {
		items[i] = all[i].item
	}
}
