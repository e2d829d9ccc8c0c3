package op

import (
	"context"

	"google.golang.org/grpc"
)

// RPC is what a dialect offers over gRPC. Its errors are those of a Route, and
// have the codes of their kinds. Who handles a stream of requests begins a
// Part for each.
type RPC struct {
	Register func(grpc.ServiceRegistrar)
	Open     []string // methods, as /package.Service/Method, that need no key and have no limit
}

type callKey struct{}

// WithCall is ctx of a request, with its call.
func WithCall(ctx context.Context, c Call) context.Context {
	return context.WithValue(ctx, callKey{}, c)
}

// CallOf returns the call of a request over gRPC.
func CallOf(ctx context.Context) Call { return ctx.Value(callKey{}).(Call) }
