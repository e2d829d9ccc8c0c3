package main

import (
	"fmt"
	"io"
)

// collector accompanies a run over many pictures: it shows how far it is,
// tells what fails and counts it.
type collector struct {
	stdout, stderr io.Writer
	total          int
	what           string
	bar            progress
	failed         int
}

func (c *collector) start() { c.bar = newProgress(c.stdout, c.stderr, c.total, c.what) }

// done takes note of a picture.
func (c *collector) done(r result) {
	if r.err != nil {
		c.failed++
		c.bar.clear()
		fmt.Fprintf(c.stderr, "vitserve: %s: %s\n", printable(r.name), printableError(r.err))
	}
	c.bar.add()
}

// end returns what the command returns, err being the run's own error.
func (c *collector) end(err error) error {
	c.bar.clear()
	switch {
	case err != nil:
		return err
	case c.failed == 0:
		return nil
	case c.total > 1:
		fmt.Fprintf(c.stderr, "vitserve: %d of %d pictures failed\n", c.failed, c.total)
	}
	return errReported
}
