package main

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

var (
	uuids = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	times = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?\+00:00$`)
	index = regexp.MustCompile(`\[\d+\]`)
)

// prose are keys whose texts are meant for people: only their presence and type count.
var prose = map[string]bool{"message": true, "msg": true, "suggestion": true, "reason": true, "title": true, "prompt": true}

// measures are keys whose numbers differ from run to run.
var measures = map[string]bool{"duration_ms": true, "deadline_at": true, "expires_at": true, "timestamp": true, "total": true}

// compare returns what differs between two answers, nothing when they are alike.
func compare(theirs, ours answer) []string {
	var out []string
	if theirs.status != ours.status {
		out = append(out, fmt.Sprintf("status: %d, ours %d", theirs.status, ours.status))
	}
	for _, name := range []string{"Content-Type", "Retry-After", "WWW-Authenticate"} {
		if a, b := theirs.header.Get(name), ours.header.Get(name); a != b {
			out = append(out, fmt.Sprintf("header %s: %q, ours %q", name, a, b))
		}
	}
	if theirs.body == nil || ours.body == nil {
		if (theirs.body == nil) != (ours.body == nil) {
			out = append(out, fmt.Sprintf("body: %.100q, ours %.100q", theirs.raw, ours.raw))
		}
		return out
	}
	a, b := map[string]string{}, map[string]string{}
	flatten("", "", theirs.body, a)
	flatten("", "", ours.body, b)
	var paths []string
	for path := range a {
		if a[path] != b[path] {
			paths = append(paths, path)
		}
	}
	for path := range b {
		if _, ok := a[path]; !ok {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	for _, path := range paths {
		out = append(out, fmt.Sprintf("%s: %s, ours %s", path, shown(a, path), shown(b, path)))
	}
	return out
}

func shown(leaves map[string]string, path string) string {
	if v, ok := leaves[path]; ok {
		return fmt.Sprintf("%.120s", v)
	}
	return "absent"
}

// flatten lists the leaves of a value with their paths.
func flatten(path, key string, v any, into map[string]string) {
	switch v := v.(type) {
	case map[string]any:
		if len(v) == 0 {
			into[path] = "{}"
		}
		for k, e := range v {
			if strings.HasPrefix(path, ".detail[") && (k == "ctx" || k == "input") {
				continue // data of a validation library, which clients do not read
			}
			flatten(path+"."+k, k, e, into)
		}
	case []any:
		if len(v) == 0 {
			into[path] = "[]"
		}
		for i, e := range v {
			flatten(path+"["+strconv.Itoa(i)+"]", key, e, into)
		}
	default:
		into[path] = leaf(key, v)
	}
}

func leaf(key string, v any) string {
	switch v := v.(type) {
	case string:
		switch {
		case prose[key]:
			return "<text>"
		case times.MatchString(v):
			return "<time>"
		default:
			return strconv.Quote(uuids.ReplaceAllString(v, "<id>"))
		}
	case float64:
		if measures[key] {
			return "<number>"
		}
		return strconv.FormatFloat(v, 'g', -1, 64)
	default:
		raw, err := json.Marshal(v)
		if err != nil {
			return err.Error()
		}
		return string(raw)
	}
}

// signature says what kind of difference it is, so that each is reported once.
func signature(x exchange, differences []string) string {
	path := idsInPath.ReplaceAllString(uuids.ReplaceAllString(x.Path, ""), "/$1/*")
	path, _, _ = strings.Cut(path, "?")
	first, _, _ := strings.Cut(differences[0], ": ")
	if strings.HasPrefix(differences[0], "status") {
		first = detail(x.theirs) + detail(x.ours)
	}
	return fmt.Sprintf("%s %s %d %d %s", x.Method, path, x.theirs.status, x.ours.status, index.ReplaceAllString(first, "[]"))
}

// code is the error code of an answer, with the codes of its diagnostics.
func code(a answer) string {
	o, _ := a.body.(map[string]any)
	d, _ := o["detail"].(map[string]any)
	c, _ := d["error"].(string)
	return c
}

func detail(a answer) string {
	text := code(a)
	o, _ := a.body.(map[string]any)
	d, _ := o["detail"].(map[string]any)
	list, _ := d["diagnostics"].([]any)
	for _, e := range list {
		if m, ok := e.(map[string]any); ok {
			text += fmt.Sprint(" ", m["code"])
		}
	}
	return text
}
