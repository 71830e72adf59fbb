// Package operations drills what operators do: backups brought back, upgrades, audits, and every symptom of the runbook. It starts the service as
// real processes.
package operations

import (
	"os"
	"testing"

	"github.com/kneo-go/kneo/test/replica"
)

func TestMain(m *testing.M) {
	replica.Play()
	os.Exit(m.Run())
}

type object = map[string]any

func greeter() object { return object{"version": "v1", "agent": object{"name": "greeter"}} }

// gated is a workflow with a human step; human holds the fields of that step's component.
func gated(human, after object) object {
	step := func(id, kind string) object { return object{"id": id, "kind": kind, "ref": id} }
	return object{
		"version": "v1", "agent": object{"name": "root"},
		"components": object{"agents": object{"draft": object{"name": "draft"}, "publish": after}, "humans": object{"review": human}},
		"workflow":   object{"name": "line", "type": "sequential", "steps": []object{step("draft", "agent"), step("review", "human"), step("publish", "agent")}},
	}
}
