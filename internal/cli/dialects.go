package cli

import (
	"github.com/vitserve/vitserve/api/hf"
	"github.com/vitserve/vitserve/api/kserve"
	"github.com/vitserve/vitserve/api/oip"
	"github.com/vitserve/vitserve/api/op"
)

// dialects are what the server speaks beside /v1.
func dialects() []op.Dialect {
	return []op.Dialect{hf.Dialect(), oip.Dialect(), kserve.Dialect()}
}
