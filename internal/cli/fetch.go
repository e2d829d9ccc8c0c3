package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"github.com/vitserve/vitserve/internal/words"
	"github.com/vitserve/vitserve/models"
	"github.com/vitserve/vitserve/models/hub"
)

// fetchFlags say whether a model that is not here is fetched.
type fetchFlags struct{ offline bool }

func (f *fetchFlags) register(flags *pflag.FlagSet) {
	flags.BoolVar(&f.offline, "offline", isOn(os.Getenv("VITSERVE_OFFLINE")), "do not fetch an ORG/NAME that is not in the hub's cache; HF_HUB_OFFLINE=1 says so, too")
}

func isOn(v string) bool { return v == "1" || strings.EqualFold(v, "true") }

// reachable is how long the hub may take for a sign of life.
const reachable = 10 * time.Second

// missing returns the hub's name and revision of a model that is to be fetched:
// one of the hub that is not in its cache, and no file here.
func missing(name string) (c *hub.Client, repo, revision string, err error) {
	repo, revision, _ = strings.Cut(name, "@")
	if !hub.IsName(repo) {
		return nil, "", "", nil
	}
	if _, err := os.Lstat(name); err == nil {
		return nil, "", "", nil
	}
	if c, err = hub.FromEnv(); err != nil {
		return nil, "", "", err
	}
	if _, err := c.Cached(repo, revision); !errors.Is(err, hub.ErrNotFound) && !errors.Is(err, os.ErrNotExist) {
		return nil, "", "", nil // it is there, or opening it says what is wrong
	}
	return c, repo, revision, nil
}

// fetch brings a model of the hub into its cache if it is not there. Of any
// other name it does nothing. report is told of every file's progress, as
// hub.Client.Progress; say, of what is done.
func (f *fetchFlags) fetch(ctx context.Context, name string, report func(file string, done, size int64), say func(text string)) error {
	c, repo, revision, err := missing(name)
	if c == nil || err != nil || f.offline || c.Offline {
		return err // opening it says that it is not here
	}
	at := c.Endpoint
	if at == "" {
		at = hub.DefaultEndpoint
	}
	if u, err := url.Parse(at); err == nil && u.Host != "" {
		at = u.Host
	}
	sign, cancel := context.WithTimeout(ctx, reachable)
	defer cancel()
	if err := c.Reach(sign); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("%w: %s is not in the hub's cache %s, and %s cannot be reached: %w; on a machine that can: vitserve pull %s", models.ErrNotFound, name, c.Cache, at, err, name)
	}
	say(fmt.Sprintf("fetching %s from %s into %s", name, at, c.Cache))
	c.Progress = report
	_, err = c.Pull(ctx, repo, revision)
	if errors.Is(err, hub.ErrNotFound) {
		err = fmt.Errorf("%w: %w; see %s for names", models.ErrNotFound, err, at)
	}
	return err
}

// fetchFor is fetch with bars for who waits at stderr.
func (f *fetchFlags) fetchFor(ctx context.Context, name string, stderr io.Writer) error {
	bars := downloads{stderr: stderr}
	defer bars.end()
	return f.fetch(ctx, name, bars.report, func(text string) { fmt.Fprintf(stderr, "note: %s\n", printable(words.PlainText(text))) })
}
