package rpc

import (
	"context"

	kneov1 "github.com/kneo-go/kneo/gen/go/kneo/v1"
	"github.com/kneo-go/kneo/internal/service"
)

// SkillServer serves SkillService.
type SkillServer struct {
	kneov1.UnimplementedSkillServiceServer
	skills *service.Skills
}

// NewSkillServer returns the server.
func NewSkillServer(s *service.Skills) *SkillServer { return &SkillServer{skills: s} }

// ListSkills returns one page of the installed skills.
func (s *SkillServer) ListSkills(ctx context.Context, r *kneov1.ListSkillsRequest) (*kneov1.ListSkillsResponse, error) {
	p := page(r, r.Limit != nil, r.SortBy != nil, r.SortOrder != nil, "name", "asc")
	list, err := s.skills.List(ctx, p)
	if err != nil {
		return nil, err
	}
	out := &kneov1.ListSkillsResponse{
		Skills: make([]*kneov1.Skill, len(list.Items)), Count: count(len(list.Items)), Total: count(int(list.Total)), Window: service.Window,
		Limit: count(p.Limit), Offset: count(p.Offset), SortBy: p.SortBy, SortOrder: sortOrder(p),
	}
	for i, k := range list.Items {
		out.Skills[i] = &kneov1.Skill{Name: k.Name, Description: k.Description, Path: k.Path}
	}
	return out, nil
}
