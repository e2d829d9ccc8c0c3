package oip

import (
	"errors"
	"fmt"

	"github.com/vitserve/vitserve/api/op"
)

// syntax is the error of a request that cannot be read.
func syntax(format string, args ...any) error { return wrong(op.ErrSyntax, format, args) }

// value is the error of one that can be read, and is impossible.
func value(format string, args ...any) error { return wrong(op.ErrValue, format, args) }

func wrong(kind error, format string, args []any) error {
	return fmt.Errorf("%w: %w", kind, fmt.Errorf(format, args...))
}

// notSupported names what the server does not do.
func notSupported(what string) error { return fmt.Errorf("%w: %s", op.ErrUnsupported, what) }

// inShared is the error of a tensor that is to be read from, or written to, a
// region of memory that client and server share.
func inShared(what, name, region string) error {
	return notSupported(fmt.Sprintf("shared memory: %s %s is in region %s, want its data in the request or the answer", what, op.Clip(name), op.Clip(region)))
}

// within says in which member err was found.
func within(member string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", member, err)
}

// unread is the error of JSON that was not understood, which is one of its
// syntax where it is of no other kind.
func unread(err error) error {
	if errors.Is(err, op.ErrValue) || errors.Is(err, op.ErrUnsupported) {
		return err
	}
	return syntax("JSON: %w", err)
}
