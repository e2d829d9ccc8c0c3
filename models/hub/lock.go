package hub

import (
	"context"
	"os"
	"path/filepath"
	"time"
)

// lock takes the lock file that processes which download the same blob agree
// on, and waits while another has it. The hub's own library locks the same
// file in the same way.
func (c *cache) lock(ctx context.Context, etag string) (unlock func(), err error) {
	name := filepath.Join(".locks", c.repo, etag+".lock")
	if err := c.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return nil, err
	}
	f, err := c.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	for {
		taken, err := tryLock(f)
		if err != nil {
			f.Close()
			return nil, err
		}
		if taken {
			return func() { f.Close() }, nil // which gives it back
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			f.Close()
			return nil, ctx.Err()
		}
	}
}
