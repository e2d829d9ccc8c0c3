package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vitserve/vitserve/api/oip/inference"
	v1 "github.com/vitserve/vitserve/api/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

// dialect is a way to ask about the same photos.
type dialect struct {
	name  string
	least float64 // of the pictures a second of /v1/classify; 0: reported
	ask   func(i int) (status int, err error)

	// logits asks for those of photo i, and stops waiting with ctx.
	logits func(ctx context.Context, i int) ([]float32, error)
	sorted bool // the largest first, and not by class

	best          float64 // pictures a second
	server, spent float64 // s of processor time of all rounds, of the server and of the clients
	pictures      float64 // in them
}

// dialects asks about the same photos in each dialect, turn and turn about; of
// each the best round counts, because other work on the machine only ever makes
// one slower. Then crowds ask, a third of whose clients hang up, and every
// answer is held to its own photo.
func dialects(ctx context.Context, b *bench) error {
	conn, err := grpc.NewClient("passthrough:///"+b.rpcAddr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	all, err := b.ways(ctx, conn)
	if err != nil {
		return err
	}
	b.closed(ctx, b.clients, 2*time.Second, "/v1/classify") // warm
	const rounds = 3
	for range rounds {
		for _, d := range all {
			server, own := b.serverCPU(), ownCPU()
			t, rate := b.closedBy(ctx, b.clients, b.length/2, d.ask)
			if err := t.only(http.StatusOK); err != nil {
				return fmt.Errorf("%s: %w", d.name, err)
			}
			n := float64(t.status[http.StatusOK])
			server, own = b.serverCPU()-server, ownCPU()-own
			fmt.Printf("%s: %.1f pictures/s; CPU a picture: server %.2f ms, clients %.2f ms; %v\n", d.name, rate, 1e3*server/n, 1e3*own/n, t)
			d.best = max(d.best, rate)
			d.server, d.spent, d.pictures = d.server+server, d.spent+own, d.pictures+n
		}
	}
	for _, d := range all {
		wanted := "reported"
		if d.least > 0 {
			wanted = fmt.Sprintf("≥ %.0f %%", 100*d.least)
		}
		share := d.best / all[0].best
		found := fmt.Sprintf("%.0f %% (%.1f pictures/s)", 100*share, d.best)
		// Where others work, a round is as fast as they let it be; what it takes
		// of the processor they do not change.
		if v, err := strconv.ParseFloat(b.loadBefore, 64); err == nil && v > float64(runtime.NumCPU()) {
			share = max(share, all[0].server/all[0].pictures/(d.server/d.pictures))
			found += fmt.Sprintf("; others use this machine: %.0f %% by the server's processor time", 100*share)
		}
		b.hold(share >= d.least, fmt.Sprintf("%s: %d clients, closed loop, by /v1/classify", d.name, b.clients), wanted, "%s", found)
		of := func(s float64) float64 { return 1e3 * s / d.pictures }
		b.hold(true, d.name+": processor time a picture, all rounds", "reported", "server %.1f ms, clients %.2f ms", of(d.server), of(d.spent))
	}
	return b.crowds(ctx, all)
}

// ways are the dialects; the first is /v1.
func (b *bench) ways(ctx context.Context, conn *grpc.ClientConn) ([]*dialect, error) {
	var list v1.ModelList
	if err := b.getJSON(ctx, "/v1/models", &list); err != nil {
		return nil, err
	}
	id := list.Models[0].ID
	model := strings.ReplaceAll(id, "/", "--")
	infer := func(face string) string { return "/v2/models/" + model + face + "/infer" }
	asked := func(path string, body func(i int) ([]string, []byte)) func(int) (int, error) {
		return func(i int) (int, error) { return b.wire.ask(b.wire.asked(path, len(b.photos), i, body)) }
	}
	sizes := list.Models[0].Transform.Size
	shape := fmt.Sprintf("[1,3,%d,%d]", sizes[0], sizes[1])
	pixels, err := b.pixels(ctx)
	if err != nil {
		return nil, err
	}
	texts := make([][]byte, len(pixels))
	for i, p := range pixels {
		values := make([]float32, len(p)/4)
		if err := binary.Read(bytes.NewReader(p), binary.LittleEndian, values); err != nil {
			return nil, err
		}
		data, err := json.Marshal(values)
		if err != nil {
			return nil, err
		}
		texts[i] = fmt.Appendf(nil, `{"inputs":[{"name":"pixel_values","shape":%s,"datatype":"FP32","data":%s}]}`, shape, data)
	}
	client := inference.NewGRPCInferenceServiceClient(conn)
	rpc := func(ctx context.Context, i int, output string) (*inference.ModelInferResponse, error) {
		r := &inference.ModelInferRequest{
			ModelName: model, RawInputContents: [][]byte{element(b.photos[i%len(b.photos)])},
			Inputs: []*inference.ModelInferRequest_InferInputTensor{{Name: "IMAGE", Datatype: "BYTES", Shape: []int64{1, 1}}},
		}
		if output != "" {
			r.Outputs = []*inference.ModelInferRequest_InferRequestedOutputTensor{{Name: output}}
		}
		return client.ModelInfer(ctx, r)
	}
	return []*dialect{
		{name: "/v1/classify", ask: asked("/v1/classify", func(i int) ([]string, []byte) { return nil, b.photos[i] }),
			logits: func(ctx context.Context, i int) ([]float32, error) {
				r, err := b.classify(ctx, i, "logits=true")
				return r.logits, err
			}},
		{name: "Hugging Face", least: 0.95, ask: asked("/models/"+id, func(i int) ([]string, []byte) { return nil, b.photos[i] }),
			sorted: true, logits: func(ctx context.Context, i int) ([]float32, error) {
				_, text, err := b.fetch(ctx, http.MethodPost, "/models/"+id+"?function_to_apply=none&top_k=100000", nil, b.photos[i])
				if err != nil {
					return nil, err
				}
				var labels []struct{ Score float32 }
				err = json.Unmarshal(text, &labels)
				var all []float32
				for _, l := range labels {
					all = append(all, l.Score)
				}
				return all, err
			}},
		{name: "OIP, image", least: 0.95, ask: asked(infer(""), func(i int) ([]string, []byte) { return inBinary("IMAGE", "[1,1]", "BYTES", "", element(b.photos[i])) }),
			logits: func(ctx context.Context, i int) ([]float32, error) {
				return b.inferred(ctx, infer(""), b.photos[i])
			}},
		{name: "OIP over gRPC, image", least: 0.95, ask: func(i int) (int, error) {
			if _, err := rpc(ctx, i, ""); err != nil {
				return 500 + int(status.Code(err)), nil
			}
			return http.StatusOK, nil
		}, logits: func(ctx context.Context, i int) ([]float32, error) {
			a, err := rpc(ctx, i, "logits")
			if err != nil {
				return nil, err
			}
			return floats(a.RawOutputContents[0]), nil
		}},
		{name: "OIP, pixels in binary", ask: asked(infer(".pixels"), func(i int) ([]string, []byte) { return inBinary("pixel_values", shape, "FP32", "", pixels[i]) })},
		{name: "OIP, pixels in JSON", ask: asked(infer(".pixels")+"?json", func(i int) ([]string, []byte) { return nil, texts[i] })},
	}, nil
}

// pixels are the photos as clients prepare them, in binary.
func (b *bench) pixels(ctx context.Context) (all [][]byte, err error) {
	for _, p := range b.photos {
		_, file, err := b.fetch(ctx, http.MethodPost, "/v1/preprocess?format=npy", nil, p)
		if err != nil {
			return nil, err
		}
		if len(file) < 10 || !bytes.HasPrefix(file, []byte("\x93NUMPY\x01")) {
			return nil, fmt.Errorf("no NumPy file: %.40q", file)
		}
		all = append(all, file[10+int(binary.LittleEndian.Uint16(file[8:])):])
	}
	return all, nil
}

// element is a file as an element of BYTES.
func element(file []byte) []byte {
	return append(binary.LittleEndian.AppendUint32(nil, uint32(len(file))), file...)
}

// inBinary is a request for the inference of a tensor in binary.
func inBinary(name, shape, datatype, more string, blob []byte) (header []string, body []byte) {
	head := fmt.Sprintf(`{"inputs":[{"name":"%s","shape":%s,"datatype":"%s","parameters":{"binary_data_size":%d}}],"parameters":{"binary_data_output":true}%s}`, name, shape, datatype, len(blob), more)
	return []string{"Inference-Header-Content-Length: " + strconv.Itoa(len(head))}, append([]byte(head), blob...)
}

// falling are the same numbers of each photo, the largest first.
func falling(all [][]float32) (sorted [][]float32) {
	for _, v := range all {
		v = slices.Clone(v)
		slices.SortFunc(v, func(a, b float32) int { return cmp.Compare(b, a) })
		sorted = append(sorted, v)
	}
	return sorted
}

// inferred asks for the logits of a photo.
func (b *bench) inferred(ctx context.Context, path string, photo []byte) ([]float32, error) {
	header, body := inBinary("IMAGE", "[1,1]", "BYTES", `,"outputs":[{"name":"logits"}]`, element(photo))
	h, text, err := b.fetch(ctx, http.MethodPost, path, header, body)
	if err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(h.Get("Inference-Header-Content-Length"))
	if err != nil || n > len(text) {
		return nil, fmt.Errorf("no length of the head: %v", err)
	}
	return floats(text[n:]), nil
}

func floats(b []byte) (all []float32) {
	for ; len(b) >= 4; b = b[4:] {
		all = append(all, math.Float32frombits(binary.LittleEndian.Uint32(b)))
	}
	return all
}

// fetch sends a request with headers as lines, and returns an answer of 200.
func (b *bench) fetch(ctx context.Context, method, path string, header []string, body []byte) (http.Header, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, b.url+path, bytes.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	for _, line := range header {
		name, v, _ := strings.Cut(line, ": ")
		req.Header.Set(name, v)
	}
	resp, err := b.client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d: %.200s", resp.StatusCode, text)
	}
	return resp.Header, text, err
}

func (b *bench) getJSON(ctx context.Context, path string, v any) error {
	_, text, err := b.fetch(ctx, http.MethodGet, path, nil, nil)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, v)
}

// crowds asks in each dialect that sends logits; a third of the clients hang up.
func (b *bench) crowds(ctx context.Context, all []*dialect) error {
	want := make([][]float32, len(b.photos))
	for i := range want {
		var err error
		if want[i], err = all[0].logits(ctx, i); err != nil || want[i] == nil {
			return fmt.Errorf("photo %d alone: %w", i, err)
		}
	}
	goroutines := func() float64 { v, _ := b.metric("go_goroutines"); return v }
	idle := goroutines()
	var after, memory []float64
	for round := range 3 {
		for _, d := range all[1:] {
			if d.logits == nil {
				continue
			}
			of := want
			if d.sorted {
				of = falling(want)
			}
			right, hungUp, wrong := b.crowd(ctx, d, of, b.options.crowd/3)
			if round == 2 || len(wrong) > 0 {
				b.hold(len(wrong) == 0 && right > 0, d.name+": every answer for its own photo, to the bit", "all",
					"%d right, %d hung up, %d wrong %.200s", right, hungUp, len(wrong), strings.Join(wrong, "; "))
			}
		}
		for range 50 { // what was given up ends by itself
			if time.Sleep(100 * time.Millisecond); goroutines() <= idle+5 {
				break
			}
		}
		m, err := b.resident()
		if err != nil {
			return err
		}
		after, memory = append(after, goroutines()), append(memory, m/1e6)
	}
	b.hold(after[2] <= after[0]+5, "goroutines after each of three rounds of crowds, and before them", "flat", "%v, %.0f", after, idle)
	b.hold(memory[2] <= 1.1*max(memory[0], memory[1]), "resident memory after each, MB", "flat", "%.0f", memory)
	return nil
}

// crowd is n requests of one dialect.
func (b *bench) crowd(ctx context.Context, d *dialect, want [][]float32, n int) (right, hungUp int, wrong []string) {
	var next, ok, gone atomic.Int64
	var mu sync.Mutex
	var wg sync.WaitGroup
	for c := range b.clients {
		rng := rand.New(rand.NewPCG(11, uint64(c)))
		wg.Go(func() {
			for next.Add(1) <= int64(n) && ctx.Err() == nil {
				i := rng.IntN(len(b.photos))
				if rng.IntN(3) == 0 {
					short, cancel := context.WithTimeout(ctx, time.Duration(rng.IntN(300))*time.Millisecond)
					_, _ = d.logits(short, i)
					cancel()
					gone.Add(1)
					continue
				}
				found, err := d.logits(ctx, i)
				if err == nil && !equal(found, want[i]) {
					err = errors.New("not the logits of this photo")
				}
				if err != nil {
					mu.Lock()
					wrong = append(wrong, fmt.Sprintf("photo %d: %v", i, err))
					mu.Unlock()
					continue
				}
				ok.Add(1)
			}
		})
	}
	wg.Wait()
	return int(ok.Load()), int(gone.Load()), wrong
}
