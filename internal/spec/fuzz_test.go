package spec

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

func seed(f *testing.F, patterns ...string) {
	f.Helper()
	for _, p := range patterns {
		files, err := filepath.Glob(p)
		if err != nil {
			f.Fatal(err)
		}
		for _, name := range files {
			data, err := os.ReadFile(filepath.Clean(name))
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
}

// FuzzParse: any text gives a tree or an error, and a tree survives JSON.
func FuzzParse(f *testing.F) {
	seed(f, corpus+"/*.yaml", corpus+"/bundles/*.json")
	f.Add([]byte("a: &x [*x, {<<: *x}]\n? [1]\n: 2\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, parse := range []func(string, []byte, Limits) (*Node, Diagnostics, error){Parse, ParseJSON} {
			node, _, err := parse("f", data, Limits{})
			if err != nil || node == nil {
				continue
			}
			text := node.JSON()
			again, err := FromJSON(text, Limits{Bytes: 1 << 30})
			if err != nil {
				t.Fatalf("%q became %q: %v", data, text, err)
			}
			if !bytes.Equal(again.JSON(), text) && !repeatedKeys(node) {
				t.Fatalf("%q became %q", text, again.JSON())
			}
		}
	})
}

// repeatedKeys reports keys that differ in YAML and not in JSON, such as 1 and
// "1", and timestamps and strings of the same text.
func repeatedKeys(n *Node) bool {
	seen := map[string]bool{}
	for _, e := range n.Entries {
		if seen[e.Key] || repeatedKeys(e.Value) {
			return true
		}
		seen[e.Key] = true
	}
	for _, item := range n.Items {
		if repeatedKeys(item) {
			return true
		}
	}
	return false
}

// FuzzDecode: any tree is checked without a panic, and freezing keeps the
// document.
func FuzzDecode(f *testing.F) {
	seed(f, corpus+"/*.yaml", corpus+"/invalid/*.yaml", corpus+"/compile_errors/*.yaml")
	f.Fuzz(func(t *testing.T, data []byte) {
		node, _, err := Parse("f", data, Limits{})
		if err != nil {
			return
		}
		in := Inputs{Base: node, Environment: "e", Overrides: node, Overlays: []*Node{node}}
		doc, found, err := in.Check(ValidateOptions{Handlers: func(string) (bool, []string) { return false, nil }})
		if err != nil || doc == nil {
			return
		}
		Explain(doc)
		if _, err := found.MarshalJSON(); err != nil {
			t.Fatal(err)
		}
		frozen := Freeze(in, OrderedMap[*LoadedSkill]{})
		opened, err := Open(frozen.Data)
		if err != nil {
			t.Fatal(err)
		}
		if again := Freeze(opened.Inputs, opened.Skills); again.Digest != frozen.Digest && !repeatedKeys(node) {
			t.Fatalf("%s\n%s", frozen.Data, again.Data)
		}
	})
}

// FuzzBundle: any text is verified without a panic, and what Sign makes
// verifies.
func FuzzBundle(f *testing.F) {
	seed(f, corpus+"/bundles/*.json")
	f.Fuzz(func(t *testing.T, data []byte) {
		key := []byte("k")
		if v, err := Verify(data, key); err == nil && v.Valid {
			t.Skip("the fuzzer found the key")
		}
		info, err := Inspect(data)
		if err != nil || !info.Spec.IsMapping() {
			return
		}
		signed, _, err := Sign(info.Spec, Approval{ApprovedBy: "a"}, key)
		if err != nil {
			return
		}
		if v, err := Verify(signed, key); err != nil || !v.Valid {
			t.Fatalf("%v %+v\n%s", err, v, signed)
		}
	})
}
