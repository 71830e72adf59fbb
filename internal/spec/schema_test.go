package spec_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dlclark/regexp2"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/kneo-go/kneo/gen/schema"
	"github.com/kneo-go/kneo/internal/spec"
)

// TestSchemaIsGenerated fails when the committed schema is not what the
// language table gives; `go generate ./gen/schema` mends it.
func TestSchemaIsGenerated(t *testing.T) {
	if !bytes.Equal(schema.Document(), spec.JSONSchema()) {
		t.Error("gen/schema/kneo-spec.schema.json is out of date: run go generate ./gen/schema")
	}
}

type ecma struct{ re *regexp2.Regexp }

func (e ecma) MatchString(s string) bool {
	ok, err := e.re.MatchString(s)
	return err == nil && ok
}
func (e ecma) String() string { return e.re.String() }

func compiled(t *testing.T) *jsonschema.Schema {
	t.Helper()
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema.Document()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.UseRegexpEngine(func(s string) (jsonschema.Regexp, error) {
		re, err := regexp2.Compile(s, regexp2.ECMAScript)
		return ecma{re}, err
	})
	if err := c.AddResource(spec.SchemaID, document); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile(spec.SchemaID)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestSchemaAgreesWithDecode holds the corpus against the JSON Schema: the two
// must refuse and accept the same files.
func TestSchemaAgreesWithDecode(t *testing.T) {
	s := compiled(t)
	files, err := filepath.Glob("testdata/corpus/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	more, err := filepath.Glob("testdata/corpus/invalid/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range append(files, more...) {
		if strings.Contains(f, "22_v0") {
			continue
		}
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		tree, _, err := spec.Parse(f, data, spec.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		_, found := spec.Decode(spec.Normalise(tree))
		instance, err := jsonschema.UnmarshalJSON(bytes.NewReader(tree.JSON()))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Validate(instance); (err == nil) == found.HasErrors() {
			t.Errorf("%s: the JSON Schema says %v, Decode says %v", f, err, found)
		}
	}
}
