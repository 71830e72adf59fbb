package app

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
)

// releasePages unmaps the pages of the program file that the start has touched. Most of them are never used again, but the system counts them as
// memory of this process until it runs short; what is used again is mapped again, from the system's cache of the file. Mappings with changed pages
// are left alone.
func releasePages() error {
	program, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return err
	}
	maps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		return err
	}
	var errs []error
	for _, m := range programMappings(maps, program) {
		if _, _, errno := syscall.Syscall(syscall.SYS_MADVISE, m.from, m.to-m.from, syscall.MADV_DONTNEED); errno != 0 {
			errs = append(errs, fmt.Errorf("madvise: %w", errno))
		}
	}
	return errors.Join(errs...)
}

// mapping is a range of addresses.
type mapping struct{ from, to uintptr }

// programMappings lists the mappings of a file that cannot be written and have no changed page, from the text of smaps.
func programMappings(smaps []byte, path string) []mapping {
	var found []mapping
	var m mapping
	ours := false
	lines := bufio.NewScanner(bytes.NewReader(smaps))
	for lines.Scan() {
		line := lines.Text()
		var next mapping
		var permissions string
		if n, err := fmt.Sscanf(line, "%x-%x %s", &next.from, &next.to, &permissions); err == nil && n == 3 {
			m = next
			ours = strings.HasSuffix(line, " "+path) && !strings.Contains(permissions, "w") && strings.HasSuffix(permissions, "p")
			continue
		}
		if changed, ok := strings.CutPrefix(line, "Anonymous:"); ok && ours && strings.TrimSpace(changed) == "0 kB" {
			found = append(found, m)
		}
	}
	return found
}
