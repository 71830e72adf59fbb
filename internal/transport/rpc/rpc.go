// Package rpc implements the services of the contract, one file per service. It only translates between protobuf messages and the use cases of
// internal/service; errors pass through as they are. It never imports the store.
package rpc

import (
	"encoding/json"

	kneov1 "github.com/kneo-go/kneo/gen/go/kneo/v1"
	"github.com/kneo-go/kneo/internal/service"
	"github.com/kneo-go/kneo/internal/spec"
)

// object wraps JSON of an object; empty stays unset.
func object(raw []byte) *kneov1.JsonObject {
	if len(raw) == 0 {
		return nil
	}
	return &kneov1.JsonObject{Raw: raw}
}

// value wraps any JSON; empty stays unset.
func value(raw []byte) *kneov1.JsonValue {
	if len(raw) == 0 {
		return nil
	}
	return &kneov1.JsonValue{Raw: raw}
}

// raw unwraps an object, nil when unset.
func raw(o *kneov1.JsonObject) json.RawMessage {
	if o == nil || len(o.GetRaw()) == 0 {
		return nil
	}
	return o.GetRaw()
}

// optional returns nil for the empty text, which the wire shows as null.
func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func narrow(n *int64) *int32 {
	if n == nil {
		return nil
	}
	v := int32(min(max(*n, -1<<31), 1<<31-1)) //nolint:gosec // clamped
	return &v
}

// count fits a size into the wire's number.
func count(n int) int32 {
	return int32(min(n, 1<<31-1)) //nolint:gosec // clamped
}

// paged is what all list requests have.
type paged interface {
	GetLimit() int32
	GetOffset() int32
	GetSortBy() string
	GetSortOrder() string
}

// page reads paging with the defaults of a list.
func page(r paged, hasLimit, hasSort, hasOrder bool, sortBy, order string) service.Page {
	p := service.Page{Limit: int(r.GetLimit()), Offset: int(r.GetOffset()), SortBy: r.GetSortBy()}
	if !hasLimit {
		p.Limit = 100
	}
	if !hasSort {
		p.SortBy = sortBy
	}
	if hasOrder {
		order = r.GetSortOrder()
	}
	p.Desc = order == "desc"
	return p
}

func sortOrder(p service.Page) string {
	if p.Desc {
		return "desc"
	}
	return "asc"
}

func diagnostics(found spec.Diagnostics) []*kneov1.Diagnostic {
	out := make([]*kneov1.Diagnostic, len(found))
	for i := range found {
		d := &found[i]
		out[i] = &kneov1.Diagnostic{
			Code: d.Code, Severity: string(d.Severity), Message: d.Message, Path: optional(d.Path), Suggestion: optional(d.Suggestion),
		}
		if d.Line > 0 {
			line, column := count(d.Line), count(d.Column)
			out[i].Line, out[i].Column = &line, &column
		}
	}
	return out
}
