//go:build !linux

package pgtest

import (
	"errors"
	"os"
	"syscall"
)

// identity is the user that the server runs as; here always the current one.
type identity struct{}

func runAs(string) (identity, error) {
	if os.Getuid() == 0 {
		return identity{}, errors.New("PostgreSQL refuses to run as root; run the tests as another user")
	}
	return identity{}, nil
}

func (identity) attributes(bool) *syscall.SysProcAttr { return nil }
