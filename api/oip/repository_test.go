package oip_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/api"
)

// indexed is a model of the repository.
type indexed struct{ Name, Version, State, Reason string }

// TestRepository: models are listed, unloaded and loaded under every name that
// they have, by whom the server lets.
func TestRepository(t *testing.T) {
	c := start(t, nil)
	index := func(body string) (all []indexed) {
		c.post("/v2/repository/index", []byte(body)).ok().into(&all)
		return all
	}
	require.Equal(t, []indexed{
		{"starter", "1", "READY", ""}, {"starter.pixels", "1", "READY", ""},
		{"starter.embed", "1", "READY", ""}, {"starter.focus", "1", "READY", ""},
	}, index(""))
	require.Empty(t, c.post("/v2/repository/models/starter.focus/unload", []byte(`{"parameters":{"unload_dependents":false}}`)).ok().body)
	require.Empty(t, index(`{"ready":true}`))
	require.Equal(t, indexed{"starter", "1", "UNAVAILABLE", "unloaded"}, index(`{}`)[0])
	c.get("/v2/models/starter/ready").fails(503, "unloaded")
	require.Empty(t, c.post("/v2/repository/models/starter/load", []byte(`{}`)).ok().body)
	c.get("/v2/models/starter/ready").ok()

	c.post("/v2/repository/models/x/load", nil).fails(404, `"x"`)
	c.post("/v2/repository/models/starter/load", []byte(`{"parameters":{"config":"{}"}}`)).fails(501, "config")
	c.post("/v2/repository/models/starter/load", []byte(`{"parameters":{"file:1/model.onnx":"aGk="}}`)).fails(501, "file:1/model.onnx")
	c.post("/v2/repository/models/starter/load", []byte(`{"parameters":`)).fails(400, "JSON")

	key := "secret"
	c = start(t, func(cfg *api.Config) {
		cfg.Keys = []api.Key{{Name: "app", SHA256: api.HashKey(key)}}
	})
	c.get("/v2").ok()
	c.get("/v2/health/ready").ok()
	c.get("/v2/models/starter").fails(401, "key")
	c.post("/v2/models/starter/infer", nil).fails(401, "key")
	bearer := []string{"Authorization", "Bearer " + key}
	c.ask(http.MethodGet, "/v2/models/starter", nil, bearer...).ok()
	c.ask(http.MethodPost, "/v2/repository/models/starter/unload", nil, bearer...).fails(403, "admin")
}

// TestLazy: a model that is not in memory is loaded by whoever asks for what
// only its files say.
func TestLazy(t *testing.T) {
	c := start(t, func(cfg *api.Config) {
		cfg.Models = []api.ModelConfig{{ID: "first", Path: "starter", Lazy: true}, {ID: "second.embed", Path: "starter", Lazy: true}}
	})
	c.get("/v2/models/first/ready").fails(503, "unloaded")
	c.get("/v2/models/first.pixels/config").ok()
	c.get("/v2/models/first/ready").ok()
	a := c.images("second.embed", "", photo(t, "banana.jpg")).answer()
	require.Equal(t, "probs", a.Outputs[0].Name, "an id may end as a face does")
	a = c.images("second.embed.embed", "", photo(t, "banana.jpg")).answer()
	require.Equal(t, "embedding", a.Outputs[0].Name)
}

// TestNotOffered: what the server does not do it says, and what scripts begin
// with does no harm.
func TestNotOffered(t *testing.T) {
	c := start(t, nil)
	for _, kind := range []string{"system", "cuda"} {
		at := "/v2/" + kind + "sharedmemory"
		require.JSONEq(t, `[]`, string(c.get(at+"/status").ok().body))
		require.JSONEq(t, `[]`, string(c.get(at+"/region/a/status").ok().body))
		c.post(at+"/unregister", nil).ok()
		c.post(at+"/region/a/unregister", nil).ok()
		c.post(at+"/region/a/register", []byte(`{"key":"/a","offset":0,"byte_size":10}`)).fails(501, kind+" shared memory")
	}
	r := c.post("/v2/models/starter/infer", []byte(`{"inputs":[{"name":"IMAGE","shape":[1],"datatype":"BYTES","parameters":{"shared_memory_region":"left","shared_memory_byte_size":10}}]}`))
	r.fails(501, "shared memory", `"IMAGE"`, `"left"`)
	c.get("/v2/trace/setting").fails(501, "/v2/trace/setting")
	c.post("/v2/models/starter/trace/setting", []byte(`{"trace_level":["TIMESTAMPS"]}`)).fails(501, "tracing")
	c.post("/v2/logging", []byte(`{"log_verbose_level":1}`)).fails(501, "/v2/logging")
}

// TestPolicy: the protocol's own parameters, those of sequences, which mean
// nothing here, and an id that comes back.
func TestPolicy(t *testing.T) {
	c := start(t, nil)
	file := photo(t, "banana.jpg")
	a := c.images("starter", `,"id":"seven","parameters":{"sequence_id":5,"sequence_start":true,"sequence_end":false,"priority":2,"timeout":5000000,"triton_enable_empty_final_response":true}`, file).answer()
	require.Equal(t, "seven", a.ID)
	c.images("starter.focus", `,"parameters":{"timeout":1000,"method":"rise","masks":20000}`, file).fails(504)
}

// TestSlash: a model whose id has a slash is found by it, escaped or not, and by
// its alias, which it is called by.
func TestSlash(t *testing.T) {
	c := start(t, func(cfg *api.Config) { cfg.Models = []api.ModelConfig{{ID: "org/name", Path: "starter"}} })
	for _, name := range []string{"org/name", "org%2Fname", "org--name"} {
		for _, rest := range []string{"", "/ready", "/config", "/versions/1", "/versions/1/stats"} {
			c.get("/v2/models/" + name + ".focus" + rest).ok()
		}
		a := c.images(name+".focus", "", photo(t, "banana.jpg")).answer()
		require.Equal(t, "org--name.focus", a.Model)
		c.post("/v2/repository/models/"+name+"/load", nil).ok()
	}
	var all []indexed
	c.post("/v2/repository/index", nil).ok().into(&all)
	require.Equal(t, "org--name", all[0].Name)
}
