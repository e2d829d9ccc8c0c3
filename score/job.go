package score

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"

	lib "github.com/vitserve/vitserve"
	"github.com/vitserve/vitserve/vit"
)

// Job is what is asked about photos, and which of them this process takes.
type Job struct {
	Inputs []string // photos, folders, manifests, tar files: see the package's documentation
	Output string   // folder or bucket of the parts
	Format string   // of Formats; "": jsonl

	Shards, Shard int  // this process takes every unit whose number leaves Shard when divided by Shards; Shards 0 is 1
	Force         bool // a part that is there is made anew

	TopK      int            // labels of each photo; 0: the best one only
	Embedding *vit.Embedding // nil: none
	Question  *lib.Question  // whose map the focus columns are of; nil: none

	Batch    int // photos that go through the model together; 0: 8
	Prefetch int // photos that are fetched before it is their turn, at most

	Stores  Stores   // beyond the disk
	Metrics *Metrics // nil: none
	Each    func(*Row)
}

// Counts are of a part, or of all.
type Counts struct {
	Rows   int64 `json:"rows"`
	Failed int64 `json:"failed"` // those with an error
}

func (j *Job) init() {
	j.Shards = max(j.Shards, 1)
	if j.Format == "" {
		j.Format = Formats()[0]
	}
}

// Part is the name of a shard's part.
func (j *Job) Part(shard int) string {
	j.init()
	return j.in(fmt.Sprintf("part-%05d-of-%05d.%s", shard, j.Shards, j.Format))
}

// in is a file of the output.
func (j *Job) in(name string) string {
	if schemeOf(j.Output) == "" {
		return strings.TrimSuffix(j.Output, "/") + "/" + name
	}
	u, err := url.Parse(j.Output)
	if err != nil {
		return j.Output + "/" + name
	}
	return Join(u.String(), name)
}

// Done reports whether the shard's part is there.
func (j *Job) Done(ctx context.Context) (bool, error) {
	j.init()
	return j.exists(ctx, j.Part(j.Shard))
}

// Run writes the shard's part. Errors with ErrHopeless in their chain come
// again however often it is started.
func (j *Job) Run(ctx context.Context, m *lib.Model) (n Counts, err error) {
	j.init()
	if j.Shard < 0 || j.Shard >= j.Shards {
		panic(fmt.Sprintf("score: shard %d of %d", j.Shard, j.Shards))
	}
	j.Metrics.begin(j.Shard, j.Shards)
	f, err := j.create(ctx, j.Part(j.Shard))
	if err != nil {
		return n, err
	}
	defer f.Abort()
	w := bufio.NewWriterSize(f, 256<<10)
	t, err := j.newTable(w)
	if err != nil {
		return n, err
	}
	var failed error
	photos := j.ahead(ctx, j.photos(ctx, &failed))
	for r, err := range m.Stream(ctx, photos, lib.StreamOptions{Batch: j.Batch, Embedding: j.Embedding, Question: j.Question}) {
		if err != nil {
			return n, err
		}
		if u, is := errors.AsType[*Unreachable](r.Err); is {
			return n, u
		}
		row := j.row(m.Checkpoint, r)
		if err := t.write(row); err != nil {
			return n, err
		}
		n.Rows++
		if row.Error != "" {
			n.Failed++
		}
		j.Metrics.row(row.Error != "")
		if j.Each != nil {
			j.Each(row)
		}
	}
	if err := errors.Join(failed, ctx.Err()); err != nil {
		return n, err
	}
	if err := errors.Join(t.close(), w.Flush()); err != nil {
		return n, err
	}
	if err := f.Commit(); err != nil {
		return n, err
	}
	j.Metrics.end()
	return n, nil
}

// Missing is the error of Finish where parts are not there yet.
type Missing struct {
	Shards []int
	Of     int
}

func (m *Missing) Error() string {
	text := fmt.Sprintf("%d of %d parts are missing: shard", len(m.Shards), m.Of)
	for i, s := range m.Shards {
		if i == 20 {
			return text + fmt.Sprintf(" and %d more", len(m.Shards)-i)
		}
		if i > 0 {
			text += ","
		}
		text += fmt.Sprint(" ", s)
	}
	return text
}

// Success is what Finish writes.
type Success struct {
	Shards int    `json:"shards"`
	Format string `json:"format"`
	Counts
}

// successName is the file that says that all parts are there.
const successName = "_SUCCESS"

// Finish counts the rows of all parts and writes _SUCCESS; the error is
// *Missing where parts are not there. On the disk it removes what processes
// that were killed have left.
func (j *Job) Finish(ctx context.Context) (s Success, err error) {
	j.init()
	s = Success{Shards: j.Shards, Format: j.Format}
	missing := &Missing{Of: j.Shards}
	for shard := range j.Shards {
		there, err := j.exists(ctx, j.Part(shard))
		if err != nil {
			return s, err
		}
		if !there {
			missing.Shards = append(missing.Shards, shard)
		}
	}
	if len(missing.Shards) > 0 {
		return s, missing
	}
	for shard := range j.Shards {
		n, err := j.count(ctx, j.Part(shard))
		if err != nil {
			return s, fmt.Errorf("%s: %w", j.Part(shard), err)
		}
		s.Rows += n.Rows
		s.Failed += n.Failed
	}
	if schemeOf(j.Output) == "" {
		if err := sweep(j.Output); err != nil {
			return s, err
		}
	}
	f, err := j.create(ctx, j.in(successName))
	if err != nil {
		return s, err
	}
	defer f.Abort()
	if err := json.NewEncoder(f).Encode(s); err != nil {
		return s, err
	}
	return s, f.Commit()
}

// count reads a part. One that lies elsewhere is copied to the disk first.
func (j *Job) count(ctx context.Context, name string) (n Counts, err error) {
	r, err := j.open(ctx, name)
	if err != nil {
		return n, err
	}
	defer r.Close()
	f, ok := r.(*os.File)
	if !ok {
		if f, err = os.CreateTemp("", "part-*"); err != nil {
			return n, err
		}
		defer os.Remove(f.Name())
		defer f.Close()
		if _, err := io.Copy(f, r); err != nil {
			return n, err
		}
	}
	info, err := f.Stat()
	if err != nil {
		return n, err
	}
	n.Rows, n.Failed, err = count(j.Format, f, info.Size())
	return n, err
}
