package cli

import (
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	kneov1 "github.com/kneo-go/kneo/gen/go/kneo/v1"
	"github.com/kneo-go/kneo/internal/draw"
)

// graphFlags say how a graph is drawn.
type graphFlags struct{ format, output string }

func addGraphFlags(cmd *cobra.Command, f *graphFlags) {
	var names []string
	for _, n := range draw.Formats() {
		names = append(names, string(n))
	}
	cmd.Flags().StringVar(&f.format, "format", string(draw.Terminal), "How to draw: "+strings.Join(names, ", ")+".")
	cmd.Flags().StringVarP(&f.output, "output", "o", "", "Write the drawing to a file.")
	completeValues(cmd, "format", names...)
}

const fileMode = 0o600

// drawGraph writes a picture to the screen or a file.
func (s *shell) drawGraph(f *graphFlags, p draw.Picture, o draw.Options) error {
	format := draw.Format(f.format)
	if !slices.Contains(draw.Formats(), format) {
		return usage("Invalid value for '--format': '%s' is not one of %v.", f.format, draw.Formats())
	}
	o.Color = s.out.Color() && f.output == ""
	out, err := draw.Draw(format, p, o)
	if err != nil {
		return err
	}
	if !strings.HasSuffix(out, "\n") {
		out += "\n"
	}
	if f.output == "" {
		_, err = s.out.Write([]byte(out))
		return err
	}
	if err := os.WriteFile(s.here(f.output), []byte(out), fileMode); err != nil {
		return err
	}
	s.out.Success("Wrote graph: " + f.output)
	return nil
}

// picture builds a drawing from a graph answer.
func picture(name *string, start *string, nodes []*kneov1.GraphNode, edges []*kneov1.GraphEdge) draw.Picture {
	p := draw.Picture{Title: deref(name)}
	for _, n := range nodes {
		p.Nodes = append(p.Nodes, draw.Node{ID: n.GetId(), Label: n.GetName(), Kind: n.GetKind()})
		if to := n.GetFallbackNode(); to != "" {
			p.Edges = append(p.Edges, draw.Edge{From: n.GetId(), To: to, Label: "fallback", Dashed: true})
		}
	}
	for _, e := range edges {
		p.Edges = append(p.Edges, draw.Edge{From: e.GetSource(), To: e.GetTarget(), Label: e.GetLabel()})
	}
	if start == nil || len(p.Nodes) == 0 {
		return p
	}
	p.Nodes = append([]draw.Node{{ID: "__start__", Label: "start", Kind: "start"}}, p.Nodes...)
	p.Edges = append([]draw.Edge{{From: "__start__", To: *start}}, p.Edges...)
	return p
}

func (s *shell) runsGraph() *cobra.Command {
	var f graphFlags
	cmd := runCommand(s, "graph", "Draw the workflow of a run and where the run is", reading, func(cmd *cobra.Command, c *connection, id string) (*kneov1.RunGraphResponse, error) {
		return c.Runs().GetRunGraph(cmd.Context(), &kneov1.GetRunGraphRequest{RunId: id})
	}, func(g *kneov1.RunGraphResponse) error {
		return s.drawGraph(&f, picture(g.WorkflowName, g.Start, g.GetNodes(), g.GetEdges()), draw.Options{Current: g.GetCurrent(), Visited: g.GetVisited()})
	})
	addGraphFlags(cmd, &f)
	return cmd
}
