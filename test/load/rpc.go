package main

import (
	"context"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	kneov1 "github.com/kneo-go/kneo/gen/go/kneo/v1"
)

// rpcWorkload is a workload over gRPC, one connection per caller.
func rpcWorkload(ctx context.Context, name string, t target) (Open, error) {
	creation := func(spec object, async bool) *kneov1.RunCreateRequest {
		return &kneov1.RunCreateRequest{
			Input: "Write a short text about the sea.", Spec: &kneov1.JsonObject{Raw: encode(spec)}, AsyncMode: async,
		}
	}
	create := func(req *kneov1.RunCreateRequest) Open {
		return t.rpc(func(ctx context.Context, conn *grpc.ClientConn) error {
			_, err := kneov1.NewRunServiceClient(conn).CreateRun(ctx, req)
			return err
		})
	}
	switch name {
	case "sync":
		return create(creation(soloSpec(), false)), nil
	case "sequence":
		return create(creation(sequenceSpec(), false)), nil
	case "submit":
		return create(creation(soloSpec(), true)), nil
	case "get":
		conn, err := t.dial()
		if err != nil {
			return nil, err
		}
		defer func() { _ = conn.Close() }()
		r, err := kneov1.NewRunServiceClient(conn).CreateRun(t.authorized(ctx), creation(soloSpec(), false))
		if err != nil {
			return nil, err
		}
		req := &kneov1.GetRunRequest{RunId: r.GetRunId()}
		return t.rpc(func(ctx context.Context, conn *grpc.ClientConn) error {
			_, err := kneov1.NewRunServiceClient(conn).GetRun(ctx, req)
			return err
		}), nil
	}
	return nil, fmt.Errorf("no scenario %q over gRPC; there are sync, sequence, submit and get", name)
}

func (t target) dial() (*grpc.ClientConn, error) {
	return grpc.NewClient(t.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
}

func (t target) authorized(ctx context.Context) context.Context {
	if t.key == "" {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, "x-api-key", t.key)
}

func (t target) rpc(call func(context.Context, *grpc.ClientConn) error) Open {
	return func(int) (Op, func(), error) {
		conn, err := t.dial()
		if err != nil {
			return nil, nil, err
		}
		return func(ctx context.Context, _ int) error { return call(t.authorized(ctx), conn) }, func() { _ = conn.Close() }, nil
	}
}
