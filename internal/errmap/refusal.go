package errmap

import "github.com/kneo-go/kneo/internal/problem"

// StatusHeader is the response metadata by which a service chooses an HTTP status other than 200. It never reaches a client.
const StatusHeader = "x-http-code"

// TooLarge is the error of a request whose body is larger than n bytes.
func TooLarge(n int64) error {
	return problem.New(problem.PayloadTooLarge, "Request body exceeds maximum size of %d bytes.", n).With("max_body_bytes", n)
}

// Unauthorized is the error of a call without a valid key.
func Unauthorized() error {
	return problem.New(problem.Unauthorized, "A valid Kneo service API key is required.")
}

// Forbidden is the error of a caller that lacks a scope.
func Forbidden(scope string) error {
	return problem.New(problem.Forbidden, "Missing required scope: %s", scope).With("required_scope", scope)
}

// Internal is the error that stands for everything without a code.
func Internal() error { return internal() }
