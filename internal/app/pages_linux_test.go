package app

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestProgramMappings(t *testing.T) {
	const smaps = `00400000-01f4e000 r-xp 00000000 fe:00 10018914                           /opt/kneo
Size:              27960 kB
Anonymous:             0 kB
VmFlags: rd ex mr mw me
01f4e000-0427b000 r--p 01b4e000 fe:00 10018914                           /opt/kneo
Anonymous:             0 kB
0427b000-04363000 rw-p 03e7b000 fe:00 10018914                           /opt/kneo
Anonymous:             0 kB
04363000-04364000 r--p 03e7b000 fe:00 10018914                           /opt/kneo
Anonymous:             4 kB
7f16dbdd0000-7f16dc090000 r--p 00000000 fe:00 99                         /opt/kneo-other
Anonymous:             0 kB
7f16dc090000-7f16dc091000 r--s 00000000 fe:00 10018914                   /opt/kneo
Anonymous:             0 kB
7ffd1b7e0000-7ffd1b801000 rw-p 00000000 00:00 0                          [stack]
Anonymous:            12 kB
`
	want := []mapping{{0x400000, 0x1f4e000}, {0x1f4e000, 0x427b000}}
	if diff := cmp.Diff(want, programMappings([]byte(smaps), "/opt/kneo"), cmp.AllowUnexported(mapping{})); diff != "" {
		t.Error(diff)
	}
}

// TestReleasePages goes on after its pages are gone.
func TestReleasePages(t *testing.T) {
	for range 3 {
		if err := releasePages(); err != nil {
			t.Fatal(err)
		}
	}
}
