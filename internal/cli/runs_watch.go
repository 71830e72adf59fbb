package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	kneov1 "github.com/kneo-go/kneo/gen/go/kneo/v1"
	"github.com/kneo-go/kneo/internal/cli/term"
)

func (s *shell) runsWait() *cobra.Command {
	var f serviceFlags
	var timeout float64
	cmd := leaf("wait", "Wait until a run has ended or waits for a person", []string{"RUN_ID"}, func(cmd *cobra.Command, args []string) error {
		c, err := s.connect(cmd.Context(), &f, reading)
		if err != nil {
			return err
		}
		defer c.close()
		ctx := cmd.Context()
		if timeout > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, seconds(timeout))
			defer cancel()
		}
		stop := s.err.Progress("waiting")
		r, settled, err := wait(ctx, c, args[0])
		stop()
		if err != nil {
			return c.fail(err)
		}
		if asJSON(cmd) {
			err = s.message(r)
		} else {
			err = s.showRun(r)
		}
		if err == nil && !settled {
			if !asJSON(cmd) {
				s.err.Fail("The run has not ended yet.")
			}
			return verdict{}
		}
		return err
	})
	cmd.Long = "Waits until a run has ended or waits for a person. The exit code is 1 when the time is up first."
	cmd.Flags().Float64Var(&timeout, "timeout", 0, "Seconds to wait at most; 0 means as long as it takes.")
	addServiceFlags(cmd, &f)
	cmd.ValidArgsFunction = s.completeRuns(&f)
	return jsonFlag(cmd)
}

// waitSlice is how long one call waits.
const waitSlice = 20 * time.Second

// wait waits in slices, so that proxies and client time limits do not cut it off.
func wait(ctx context.Context, c *connection, id string) (*kneov1.RunStatusResponse, bool, error) {
	for {
		slice := waitSlice
		if end, ok := ctx.Deadline(); ok {
			slice = min(slice, max(0, time.Until(end)))
		}
		// The wait is the service's; the call itself gets time to spare.
		call, cancel := context.WithTimeout(context.WithoutCancel(ctx), slice+waitSlice)
		stop := context.AfterFunc(ctx, func() {
			if ctx.Err() == context.Canceled { //nolint:errorlint // the context's own error
				cancel()
			}
		})
		out, err := c.Events().WaitRun(call, &kneov1.WaitRunRequest{RunId: id, TimeoutSeconds: proto.Float64(slice.Seconds())})
		stop()
		cancel()
		if err != nil {
			return nil, false, err
		}
		if out.GetSettled() {
			return out.GetRun(), true, nil
		}
		if end, ok := ctx.Deadline(); ok && time.Until(end) <= 0 {
			return out.GetRun(), false, nil
		}
	}
}

func (s *shell) runsWatch() *cobra.Command {
	var f serviceFlags
	var after int64
	cmd := leaf("watch", "Follow a run while it works", []string{"RUN_ID"}, func(cmd *cobra.Command, args []string) error {
		c, err := s.connect(cmd.Context(), &f, reading)
		if err != nil {
			return err
		}
		defer c.close()
		return s.watch(cmd, c, args[0], after)
	})
	cmd.Long = `Prints the events of a run, the past ones first, until it has ended or waits for a person. With --json each event is one line.
The exit code is 1 when the run failed.`
	cmd.Flags().Int64Var(&after, "after", 0, "Only events after this sequence number.")
	addServiceFlags(cmd, &f)
	cmd.ValidArgsFunction = s.completeRuns(&f)
	return jsonFlag(cmd)
}

func (s *shell) watch(cmd *cobra.Command, c *connection, id string, after int64) error {
	ctx, cancel := context.WithCancel(cmd.Context())
	defer cancel()
	begin := time.Now()
	kind := ""
	for event, err := range c.Watch(ctx, id, after) {
		if err != nil {
			return c.fail(err)
		}
		kind = event.GetKind()
		if asJSON(cmd) {
			s.out.Println(string(s.codec.Marshal(event)))
		} else {
			s.event(event, begin)
		}
		if kind == "blocked" && s.blockedNow(ctx, c, id) {
			break
		}
	}
	if asJSON(cmd) {
		return watched(kind)
	}
	r, err := c.Runs().GetRun(cmd.Context(), &kneov1.GetRunRequest{RunId: id})
	if err != nil {
		return c.fail(err)
	}
	if err := s.showRun(r); err != nil {
		return err
	}
	if u := r.GetUsage(); u.GetTotalTokens() > 0 {
		s.out.Println(s.out.Paint(term.Dim, fmt.Sprintf("tokens: %d in, %d out", u.GetInputTokens(), u.GetOutputTokens())))
	}
	return watched(r.GetStatus())
}

// blockedNow tells a pause from one that was answered already.
func (s *shell) blockedNow(ctx context.Context, c *connection, id string) bool {
	r, err := c.Runs().GetRun(ctx, &kneov1.GetRunRequest{RunId: id})
	return err == nil && r.GetStatus() == "blocked"
}

func watched(status string) error {
	switch status {
	case "failed", "timed_out", "expired", "cancelled":
		return verdict{}
	}
	return nil
}

// event prints one line about an event.
func (s *shell) event(e *kneov1.RunEvent, begin time.Time) {
	sign, style := "●", term.Cyan
	switch e.GetKind() {
	case "completed":
		sign, style = "✓", term.Green
	case "failed", "timed_out", "expired", "cancelled":
		sign, style = "✗", term.Red
	case "blocked", "retrying":
		sign, style = "⚠", term.Yellow
	}
	at := clock(e.GetCreatedAt())
	if at == "" {
		at = took(time.Since(begin))
	}
	s.out.Println(fmt.Sprintf("%s %s %s %s", s.out.Paint(term.Dim, at), s.out.Paint(style, sign), s.out.Paint(term.Bold, pad(e.GetKind(), len("completed"))), facts(e.GetData().GetRaw())))
}

// facts renders the plain members of an event on one line.
func facts(raw []byte) string {
	var members map[string]any
	if json.Unmarshal(raw, &members) != nil {
		return ""
	}
	var parts []string
	for _, key := range []string{"step_id", "node_id", "agent_name", "tool_name", "name", "kind", "type", "status", "continuation_id", "message", "output_preview"} {
		if text, ok := members[key].(string); ok && text != "" {
			parts = append(parts, key+"="+oneLine(text))
			delete(members, key)
		}
	}
	if failure, ok := members["error"].(map[string]any); ok {
		parts = append(parts, oneLine(fmt.Sprint(failure["message"])))
	}
	return term.Clean(strings.Join(parts, " "))
}
