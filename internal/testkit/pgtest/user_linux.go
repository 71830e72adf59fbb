package pgtest

import (
	"fmt"
	"os"
	"os/user"
	"strconv"
	"syscall"
)

// nobody is the uid for systems without a user named postgres.
const nobody = 65534

// identity is the user that the server runs as.
type identity struct{ credential *syscall.Credential }

// runAs keeps the current user, except for root, whom PostgreSQL refuses: then the folder is given to an ordinary user.
func runAs(dir string) (identity, error) {
	if os.Getuid() != 0 {
		return identity{}, nil
	}
	uid, gid := uint32(nobody), uint32(nobody)
	if u, err := user.Lookup("postgres"); err == nil {
		uid, gid = number(u.Uid), number(u.Gid)
	}
	if err := os.Chown(dir, int(uid), int(gid)); err != nil {
		return identity{}, fmt.Errorf("give %s to another user: %w", dir, err)
	}
	return identity{&syscall.Credential{Uid: uid, Gid: gid}}, nil
}

func number(s string) uint32 {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return nobody
	}
	return uint32(n)
}

// attributes start a process as that user; a server dies with the test.
func (i identity) attributes(server bool) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Credential: i.credential}
	if server {
		attr.Pdeathsig = syscall.SIGQUIT
		attr.Setpgid = true
	}
	return attr
}
