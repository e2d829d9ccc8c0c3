package api

import (
	"context"
	"fmt"
	"time"

	"github.com/vitserve/vitserve/api/op"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health/grpc_health_v1"
)

// health answers the probes of gRPC as /readyz does:
// https://github.com/grpc/grpc/blob/master/doc/health-checking.md
type health struct {
	grpc_health_v1.UnimplementedHealthServer
	s *Server
}

// Check is of grpc_health_v1.HealthServer.
func (h health) Check(_ context.Context, r *grpc_health_v1.HealthCheckRequest) (*grpc_health_v1.HealthCheckResponse, error) {
	if _, ok := h.s.grpc.GetServiceInfo()[r.Service]; !ok && r.Service != "" {
		return nil, fmt.Errorf("%w: service %s", op.ErrNotFound, op.Clip(r.Service))
	}
	return h.now(), nil
}

func (h health) now() *grpc_health_v1.HealthCheckResponse {
	if h.s.isReady() != nil {
		return &grpc_health_v1.HealthCheckResponse{Status: grpc_health_v1.HealthCheckResponse_NOT_SERVING}
	}
	return &grpc_health_v1.HealthCheckResponse{Status: grpc_health_v1.HealthCheckResponse_SERVING}
}

// Watch is of grpc_health_v1.HealthServer. It tells of every change until the
// server ends.
func (h health) Watch(r *grpc_health_v1.HealthCheckRequest, to grpc.ServerStreamingServer[grpc_health_v1.HealthCheckResponse]) error {
	const often = 200 * time.Millisecond
	answer := &grpc_health_v1.HealthCheckResponse{Status: grpc_health_v1.HealthCheckResponse_SERVICE_UNKNOWN}
	tick := time.NewTicker(often)
	defer tick.Stop()
	last := grpc_health_v1.HealthCheckResponse_UNKNOWN
	for {
		if _, err := h.Check(to.Context(), r); err == nil {
			answer = h.now()
		}
		if answer.Status != last {
			if err := to.Send(answer); err != nil {
				return err
			}
			last = answer.Status
		}
		select {
		case <-tick.C:
		case <-to.Context().Done():
			return to.Context().Err()
		case <-h.s.ending:
			return errDraining
		}
	}
}
