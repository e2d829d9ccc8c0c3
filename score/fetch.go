package score

import (
	"context"
	"errors"
	"io"
	"iter"
	"os"

	lib "github.com/vitserve/vitserve"
)

// photo is one of the shard's.
type photo struct {
	lib.Source
	fetch string // where it lies beyond the disk: it is fetched by ahead; "": the source reads itself
}

// photos are the photos of the shard. What ends them early is kept in *failed.
func (j *Job) photos(ctx context.Context, failed *error) iter.Seq[photo] {
	return func(yield func(photo) bool) {
		at := -1
		for u, err := range j.units(ctx) {
			if err != nil {
				*failed = err
				return
			}
			if at++; at%j.Shards != j.Shard {
				continue
			}
			if ctx.Err() != nil {
				return
			}
			if !u.isTar() {
				if !yield(j.source(u)) {
					return
				}
				continue
			}
			more, err := j.members(ctx, u, yield)
			if err != nil {
				*failed = err
			}
			if err != nil || !more {
				return
			}
		}
	}
}

// source is a photo that is a file of its own.
func (j *Job) source(u unit) photo {
	if u.err != nil {
		return photo{Source: lib.Failed(u.key, u.err)}
	}
	store, err := j.Stores.of(u.name)
	if err != nil {
		return photo{Source: lib.Failed(u.key, err)}
	}
	if store == nil {
		return photo{Source: lib.Opened(u.key, func() (io.ReadCloser, error) { return os.Open(u.name) })}
	}
	return photo{Source: lib.Source{Name: u.key}, fetch: u.name}
}

// members are the photos of a tar file. One that is not there, or that is
// none, is a row.
func (j *Job) members(ctx context.Context, u unit, yield func(photo) bool) (more bool, err error) {
	r, err := j.open(ctx, u.name)
	if err != nil {
		if u, is := errors.AsType[*Unreachable](err); is {
			return false, u
		}
		return yield(photo{Source: lib.Failed(u.key, err)}), nil
	}
	defer r.Close()
	for s := range lib.TarReader(u.key, r) {
		if unreached, is := errors.AsType[*Unreachable](s.Err()); is {
			return false, unreached
		}
		if len(s.Name) > len(u.key) {
			s.Name = u.key + "#" + s.Name[len(u.key)+1:]
		}
		if !yield(photo{Source: s}) {
			return false, nil
		}
	}
	return true, ctx.Err()
}

// ahead gets photos that lie elsewhere before it is their turn: up to so many
// are on their way or wait in memory. Their order stays.
func (j *Job) ahead(ctx context.Context, photos iter.Seq[photo]) iter.Seq[lib.Source] {
	return func(yield func(lib.Source) bool) {
		ctx, cancel := context.WithCancel(ctx)
		promised := make(chan chan lib.Source, max(j.Prefetch, 1))
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			defer close(promised)
			for s := range photos {
				promise := make(chan lib.Source, 1)
				if s.fetch != "" {
					go func() { promise <- j.fetch(ctx, s.Name, s.fetch) }()
				} else {
					promise <- s.Source
				}
				select {
				case promised <- promise:
				case <-ctx.Done():
					return
				}
			}
		}()
		defer func() {
			cancel()
			<-ended
		}()
		for promise := range promised {
			if !yield(<-promise) {
				return
			}
		}
	}
}

// fetch brings a photo into memory.
func (j *Job) fetch(ctx context.Context, key, name string) lib.Source {
	j.Metrics.fetching(1)
	defer j.Metrics.fetching(-1)
	r, err := j.open(ctx, name)
	if err != nil {
		return lib.Failed(key, err)
	}
	defer r.Close()
	data, err := lib.Opened(key, func() (io.ReadCloser, error) { return r, nil }).Read(ctx)
	if err != nil {
		return lib.Failed(key, err)
	}
	j.Metrics.fetched(len(data))
	s := lib.Bytes(data)
	s.Name = key
	return s
}
