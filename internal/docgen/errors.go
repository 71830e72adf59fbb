package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/kneo-go/kneo/internal/errmap"
	"github.com/kneo-go/kneo/internal/problem"
)

const errorsHead = `# Errors

This page is written from the contract (` + "`api/kneo/v1/error.proto`" + `) and the table of codes (` + "`make docs`" + `). What makes a run fail, fault by fault, is in
[failures](failures.md).

## The answer

An error is a JSON object with a code for programs, a text for people, and further keys that belong to the code. The commands of this page are executed by a
test:

` + "```sh" + `
kneo service serve --port 8000 > server.log 2>&1 &
until curl -sf localhost:8000/readyz > ready.json; do sleep 0.1; done
curl -s localhost:8000/v1/runs/nope
` + "```" + `

` + "```text" + `
{"detail":{"error":"not_found","message":
` + "```" + `

A request that breaks the contract gets the list of all its violations instead (422):

` + "```sh" + `
curl -s localhost:8000/v1/runs -H 'content-type: application/json' -d '{"input":7}'
` + "```" + `

` + "```text" + `
{"detail":[{"type":"string_type","loc":["body","input"]
` + "```" + `

gRPC answers with a status whose message is the text and whose details are ` + "`google.rpc.ErrorInfo`" + ` (reason = code, domain ` + "`kneo`" + `), ` +
	"`kneo.v1.ErrorDetail`" + `, and ` + "`BadRequest`" + ` or ` + "`RetryInfo`" + ` where they apply. On the command line errors go to standard error; with ` + "`--json`" + ` they keep this form.

## Codes of refused requests

| Code | HTTP | gRPC | When |
| --- | --- | --- | --- |
`

const failuresHead = `
Repeat a request after 429, 502, 503 and 504, after ` + "`Retry-After`" + ` where it is there; with an [idempotency key](idempotency.md) also when no answer came.

## Codes of failed runs

A run that was accepted and failed later answers 200 (or 202) and says so in its record: ` + "`status`" + ` and ` + "`error.type`" + `.

| ` + "`error.type`" + ` | When |
| --- | --- |
`

// refusal and failure match the two lists of codes in the comment of ErrorDetail.
var (
	refusal = regexp.MustCompile("^//   - ([0-9]{3}) `([a-z_]+)`: (.*)$")
	failure = regexp.MustCompile("^//   - `([a-z_]+)`: (.*)$")
)

// errorCodes renders the page of error codes. It fails when the comment of the contract and the table of the program differ.
func errorCodes(root string) (string, error) {
	source, err := os.ReadFile(filepath.Join(root, "api", "kneo", "v1", "error.proto"))
	if err != nil {
		return "", err
	}
	var refused, failed strings.Builder
	stated := map[problem.Code]bool{}
	for line := range strings.Lines(string(source)) {
		line = strings.TrimSpace(line)
		if m := refusal.FindStringSubmatch(line); m != nil {
			code := problem.Code(m[2])
			target := errmap.Lookup(code)
			if strconv.Itoa(target.HTTP) != m[1] {
				return "", fmt.Errorf("%s: the contract says %s, the program %d", code, m[1], target.HTTP)
			}
			stated[code] = true
			fmt.Fprintf(&refused, "| `%s` | %s | `%s` | %s |\n", code, m[1], target.GRPC, m[3])
		} else if m := failure.FindStringSubmatch(line); m != nil {
			fmt.Fprintf(&failed, "| `%s` | %s |\n", m[1], m[2])
		}
	}
	for _, code := range errmap.Codes() {
		if !stated[code] {
			return "", fmt.Errorf("%s is missing in the comment of ErrorDetail in error.proto", code)
		}
	}
	return errorsHead + refused.String() + failuresHead + failed.String(), nil
}
