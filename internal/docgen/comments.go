package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

var (
	blockLine = regexp.MustCompile(`^(service|message) (\w+) \{`)
	rpcLine   = regexp.MustCompile(`^\s+rpc (\w+)\(`)
	fieldLine = regexp.MustCompile(`^\s+(?:repeated |map<.*> )?(?:[\w.]+ )?(\w+) = \d+`)
)

// comments reads what the contract's files say about methods ("RunService.CreateRun") and fields ("RunCreateRequest.input").
func comments(root string) (map[string]string, error) {
	files, err := filepath.Glob(filepath.Join(root, "api", "kneo", "v1", "*.proto"))
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, f := range files {
		text, err := os.ReadFile(f) //nolint:gosec // a file of the repository
		if err != nil {
			return nil, err
		}
		collect(out, string(text))
	}
	return out, nil
}

func collect(into map[string]string, text string) {
	block := ""
	var said []string
	for line := range strings.SplitSeq(text, "\n") {
		trimmed := strings.TrimSpace(line)
		if comment, ok := strings.CutPrefix(trimmed, "//"); ok {
			said = append(said, strings.TrimSpace(comment))
			continue
		}
		name := ""
		if m := blockLine.FindStringSubmatch(line); m != nil {
			block = m[2]
			name = block
		} else if m := rpcLine.FindStringSubmatch(line); m != nil {
			name = block + "." + m[1]
		} else if m := fieldLine.FindStringSubmatch(line); m != nil {
			name = block + "." + m[1]
		}
		if name != "" && len(said) > 0 {
			into[name] = strings.Join(said, " ")
		}
		said = nil
	}
}
