package gateway

import (
	"slices"
	"strings"

	"github.com/kneo-go/kneo/internal/contract"
)

const version = "/v1"

// routes finds the path template of a path. A segment in braces stands for any text but an empty one.
type routes struct {
	root  *node
	first []string // first segments that exist without the version too
}

type node struct {
	fixed    map[string]*node
	any      *node
	template string
}

func newRoutes(c *contract.Contract, more ...string) *routes {
	r := &routes{root: &node{}}
	for _, route := range c.Routes() {
		more = append(more, route.Template)
	}
	for _, template := range more {
		n := r.root
		segments := strings.Split(strings.TrimPrefix(template, "/"), "/")
		for _, segment := range segments {
			n = n.child(segment)
		}
		n.template = template
		if len(segments) > 1 && !slices.Contains(r.first, segments[1]) {
			r.first = append(r.first, segments[1])
		}
	}
	return r
}

func (n *node) child(segment string) *node {
	if strings.HasPrefix(segment, "{") {
		if n.any == nil {
			n.any = &node{}
		}
		return n.any
	}
	if n.fixed == nil {
		n.fixed = map[string]*node{}
	}
	if n.fixed[segment] == nil {
		n.fixed[segment] = &node{}
	}
	return n.fixed[segment]
}

// versioned returns the path under /v1 that an unversioned path of the API means; other paths stay.
func (r *routes) versioned(path string) string {
	first, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	if strings.HasPrefix(path, "/") && slices.Contains(r.first, first) {
		return version + path
	}
	return path
}

func (r *routes) match(path string) (string, bool) {
	rest, ok := strings.CutPrefix(path, "/")
	if !ok {
		return "", false
	}
	n := r.root.find(rest)
	if n == nil || n.template == "" {
		return "", false
	}
	return n.template, true
}

func (n *node) find(rest string) *node {
	segment, tail, more := strings.Cut(rest, "/")
	for _, next := range [2]*node{n.fixed[segment], n.any} {
		switch {
		case next == nil || segment == "":
		case !more:
			if next.template != "" {
				return next
			}
		default:
			if found := next.find(tail); found != nil {
				return found
			}
		}
	}
	return nil
}

// Paths are the path templates of the API, for the OpenAPI document and for handlers beside the gateway.
func (g *Gateway) Paths() []string {
	var paths []string
	for _, r := range g.contract.Routes() {
		if !slices.Contains(paths, r.Template) {
			paths = append(paths, r.Template)
		}
	}
	return paths
}
