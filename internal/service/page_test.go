package service

import (
	"encoding/json"
	"slices"
	"testing"
)

func TestSortItems(t *testing.T) {
	items := []string{`{"k":"b"}`, `{"k":2}`, `{"k":null}`, `{"k":{"z":1}}`, `{"k":true}`, `{}`, `{"k":"a"}`, `{"k":10}`}
	raw := func(s *string) json.RawMessage { return json.RawMessage(*s) }
	for _, test := range []struct {
		page Page
		want []string
	}{
		{Page{SortBy: "k"}, []string{`{"k":true}`, `{"k":2}`, `{"k":10}`, `{"k":"a"}`, `{"k":"b"}`, `{"k":{"z":1}}`, `{"k":null}`, `{}`}},
		{Page{SortBy: "k", Desc: true}, []string{`{"k":null}`, `{}`, `{"k":{"z":1}}`, `{"k":"b"}`, `{"k":"a"}`, `{"k":10}`, `{"k":2}`, `{"k":true}`}},
		{Page{SortBy: "k.z"}, []string{`{"k":{"z":1}}`, `{"k":"b"}`, `{"k":2}`, `{"k":null}`, `{"k":true}`, `{}`, `{"k":"a"}`, `{"k":10}`}},
		{Page{SortBy: "no.such"}, items},
		{Page{}, items},
	} {
		got := slices.Clone(items)
		sortItems(got, test.page, raw)
		if !slices.Equal(got, test.want) {
			t.Errorf("%+v: %v, want %v", test.page, got, test.want)
		}
	}
}

func TestCut(t *testing.T) {
	items := []int{1, 2, 3, 4, 5}
	for _, test := range []struct {
		limit, offset int
		want          []int
	}{{2, 0, []int{1, 2}}, {2, 4, []int{5}}, {2, 5, nil}, {10, 1, []int{2, 3, 4, 5}}, {2, 99, nil}} {
		if got := cut(items, Page{Limit: test.limit, Offset: test.offset}); !slices.Equal(got, test.want) {
			t.Errorf("limit %d offset %d: %v", test.limit, test.offset, got)
		}
	}
}
