// Package oip speaks the Open Inference Protocol, version 2, with what Triton's
// clients add to it: tensors in binary, classification, statistics, the model
// repository, the policy of scheduling and the configuration of a model.
//
//	https://github.com/kserve/open-inference-protocol
//	https://github.com/triton-inference-server/server/tree/main/docs/protocol
//
// A model of the protocol has one input and one output, because the clients
// that exist refuse or misread others. Each model of the server is therefore
// several here:
//
//	vit         IMAGE         to probs, the scores of its labels
//	vit.pixels  pixel_values  to logits
//	vit.embed   IMAGE         to embedding
//	vit.focus   IMAGE         to map, where the model looked
//
// Other outputs are answered where a request names them, and either input is
// taken by each.
package oip

import (
	"encoding/json"
	"net/http"

	"github.com/vitserve/vitserve/api/op"
)

// dialect is a server's side of the protocol.
type dialect struct {
	stats *statistics
	rows  []row // the table of parameters
}

// Dialect returns the protocol, to be mounted. Its statistics begin at zero.
func Dialect() op.Dialect {
	d := &dialect{stats: newStatistics(), rows: table()}
	return op.Dialect{Name: "oip", Routes: d.routes(), RPC: d.rpc(), Fail: fail}
}

// routes are all ways into the protocol over HTTP.
func (d *dialect) routes() []op.Route {
	const get, post = http.MethodGet, http.MethodPost
	all := []op.Route{
		{Method: get, Path: "/v2/health/live", Open: true, Probe: true, Handle: d.live},
		{Method: get, Path: "/v2/health/ready", Open: true, Probe: true, Handle: d.ready},
		{Method: get, Path: "/v2", Open: true, Handle: d.server},
		{Method: get, Path: "/v2/models/stats", Handle: d.allStats},
		{Method: post, Path: "/v2/repository/index", Handle: d.index},
	}
	// The id of a model may have a slash, and clients do not escape it.
	for _, name := range []string{":model", ":org/:model"} {
		all = append(all,
			op.Route{Method: post, Path: "/v2/repository/models/" + name + "/load", Handle: d.load},
			op.Route{Method: post, Path: "/v2/repository/models/" + name + "/unload", Handle: d.unload},
			op.Route{Method: get, Path: "/v2/models/" + name + "/trace/setting", Handle: unsupported("tracing")},
			op.Route{Method: post, Path: "/v2/models/" + name + "/trace/setting", Handle: unsupported("tracing")},
		)
		for _, at := range []string{"/v2/models/" + name, "/v2/models/" + name + "/versions/:version"} {
			all = append(all,
				op.Route{Method: get, Path: at, Handle: d.metadata},
				op.Route{Method: get, Path: at + "/ready", Handle: d.modelReady},
				op.Route{Method: get, Path: at + "/config", Handle: d.config},
				op.Route{Method: get, Path: at + "/stats", Handle: d.modelStats},
				op.Route{Method: post, Path: at + "/infer", Handle: d.inferHTTP},
			)
		}
	}
	for _, kind := range []string{"system", "cuda"} {
		at := "/v2/" + kind + "sharedmemory"
		// Scripts begin by forgetting all regions, of which there are none.
		for _, path := range []string{at, at + "/region/:region"} {
			all = append(all,
				op.Route{Method: get, Path: path + "/status", Handle: none},
				op.Route{Method: post, Path: path + "/unregister", Handle: done},
			)
		}
		all = append(all, op.Route{Method: post, Path: at + "/region/:region/register", Handle: unsupported(kind + " shared memory")})
	}
	for _, path := range []string{"/v2/trace/setting", "/v2/logging"} {
		all = append(all,
			op.Route{Method: get, Path: path, Handle: unsupported(path)},
			op.Route{Method: post, Path: path, Handle: unsupported(path)},
		)
	}
	return all
}

// fail answers an error as the protocol has it. Most of what is wrong with a
// request is 400 there.
func fail(w http.ResponseWriter, _ *http.Request, f op.Failure) {
	if f.Ending {
		w.Header().Set("Connection", "close")
	}
	_ = send(w, f.Kind.Few(), map[string]string{"error": f.Detail}) // nobody is left to tell
}

// send answers JSON.
func send(w http.ResponseWriter, code int, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, err = w.Write(append(b, '\n'))
	return err
}

// none answers that there are no such things.
func none(_ op.Call, w http.ResponseWriter, _ *http.Request) error {
	return send(w, http.StatusOK, []int{})
}

// done answers that nothing has to be done.
func done(_ op.Call, w http.ResponseWriter, _ *http.Request) error {
	w.WriteHeader(http.StatusOK)
	return nil
}

// unsupported refuses what the server does not do.
func unsupported(what string) func(op.Call, http.ResponseWriter, *http.Request) error {
	return func(op.Call, http.ResponseWriter, *http.Request) error { return notSupported(what) }
}

// name returns the model and the version of a path.
func name(c op.Call) (model, version string) {
	model = c.Param("model")
	if org := c.Param("org"); org != "" {
		model = org + "/" + model
	}
	return model, c.Param("version")
}
