package rpc

import (
	"context"

	kneov1 "github.com/kneo-go/kneo/gen/go/kneo/v1"
	"github.com/kneo-go/kneo/internal/redact"
	"github.com/kneo-go/kneo/internal/service"
)

// SecurityServer serves SecurityService.
type SecurityServer struct {
	kneov1.UnimplementedSecurityServiceServer
	credentials *service.Credentials
}

// NewSecurityServer returns the server.
func NewSecurityServer(c *service.Credentials) *SecurityServer {
	return &SecurityServer{credentials: c}
}

// GetCredentialInventory lists which credentials are configured.
func (s *SecurityServer) GetCredentialInventory(ctx context.Context, r *kneov1.GetCredentialInventoryRequest) (*kneov1.CredentialInventoryResponse, error) {
	inv, err := s.credentials.Inventory(ctx, service.CredentialQuery{
		Providers: r.GetProviders(), Extras: r.GetExtras(), IncludeServiceTokens: r.IncludeServiceTokens == nil || r.GetIncludeServiceTokens(),
	})
	if err != nil {
		return nil, err
	}
	return &kneov1.CredentialInventoryResponse{Inventory: &kneov1.CredentialInventory{
		Providers: credentials(inv.Providers), Extra: credentials(inv.Extra), ServiceTokens: credentials(inv.ServiceTokens),
	}}, nil
}

func credentials(list []service.Credential) map[string]*kneov1.CredentialEntry {
	out := make(map[string]*kneov1.CredentialEntry, len(list))
	for _, c := range list {
		e := &kneov1.CredentialEntry{Name: c.Name, EnvVar: c.Variable, Present: c.Present, Status: "missing"}
		if c.Present {
			e.Status = "present"
			e.Value = optional(redact.Mask)
		}
		out[c.Key] = e
	}
	return out
}
