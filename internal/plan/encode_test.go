package plan_test

import (
	"errors"
	"testing"

	"github.com/kneo-go/kneo/internal/plan"
)

func TestEncode(t *testing.T) {
	p := &plan.Plan{FormatVersion: plan.Version, SpecVersion: "v1", Root: &plan.Agent{Name: "<a & b>", Strategy: "simple"}}
	data, err := p.Encode()
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"format_version":1,"spec_version":"v1","root":{"name":"<a & b>","runtime":{"mode":"","provider":""},"strategy":"simple","max_iterations":0,"append_mode":""}}`
	if string(data) != want {
		t.Errorf("got %s", data)
	}
	read, err := plan.Parse(data)
	if err != nil || read.Root.Name != p.Root.Name {
		t.Errorf("%+v, %v", read, err)
	}
}

func TestParseRefuses(t *testing.T) {
	if _, err := plan.Parse([]byte(`{"format_version":99,"root":{"name":"a"}}`)); !errors.Is(err, plan.ErrVersion) {
		t.Errorf("error %v", err)
	}
	for _, text := range []string{`{`, `{"format_version":1}`, `[]`} {
		if _, err := plan.Parse([]byte(text)); err == nil {
			t.Errorf("%s: no error", text)
		}
	}
}
