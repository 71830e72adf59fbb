package rows

import (
	"slices"

	"github.com/kneo-go/kneo/internal/run"
)

// PrunedStatuses are the statuses whose runs retention may delete: terminal ones only, all of them when none is named.
func PrunedStatuses(named []string) []string {
	if len(named) == 0 {
		return []string{string(run.Cancelled), string(run.Completed), string(run.Expired), string(run.Failed), string(run.TimedOut)}
	}
	return slices.DeleteFunc(slices.Clone(named), func(s string) bool { return !run.Status(s).Terminal() })
}

// PrunedStates are the states of the queue rows that retention may delete, by the names that operators know; both when none is named.
func PrunedStates(named []string) []string {
	if len(named) == 0 {
		return []string{QueueDone, QueueFailed}
	}
	states := []string{}
	for _, name := range named {
		switch name {
		case "completed":
			states = append(states, QueueDone)
		case "failed":
			states = append(states, QueueFailed)
		}
	}
	return states
}
