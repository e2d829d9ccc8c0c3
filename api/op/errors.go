package op

import (
	"errors"

	"github.com/vitserve/vitserve/models"
)

// Errors that a request has in its chain whoever reads it. The text of what
// wraps them is for the sender.
var (
	ErrSyntax      = errors.New("bad request")             // Syntax
	ErrValue       = errors.New("value not allowed")       // Value
	ErrTooLarge    = errors.New("request too large")       // TooLarge
	ErrUnsupported = errors.New("not supported")           // Unsupported
	ErrUnavailable = errors.New("model is not available")  // Unavailable
	ErrMethod      = errors.New("method not allowed")      // Method
	ErrEnding      = errors.New("server is shutting down") // Unavailable
	ErrNotFound    = models.ErrNotFound                    // NotFound
)
