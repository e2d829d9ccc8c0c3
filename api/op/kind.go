package op

import "net/http"

// Kind is what went wrong with a request, in no dialect's words.
type Kind int

// Kinds.
const (
	Internal     Kind = iota // a fault of the server
	Syntax                   // cannot be read: a broken request, a broken picture
	Key                      // no key, or an unknown one
	Forbidden                // a key that may not do this
	NotFound                 // no such model or route
	Method                   // of HTTP, that a route does not have
	Unacceptable             // nothing of what the client takes can be sent
	Slow                     // the request did not arrive in time
	TooLarge                 // more bytes or pictures than the server takes
	Format                   // not a picture of a kind that is decoded
	Value                    // can be read, and is impossible
	Busy                     // more than the server, or this client, may have at a time
	Gone                     // nobody waits for the answer
	Unavailable              // loading, draining, or standing still
	Deadline                 // the answer was not ready in time
	Unsupported              // nothing that this server does
)

// StatusClientGone is what the log says when nobody waits for the answer,
// nginx's code for it.
const StatusClientGone = 499

// row says what a Kind is called in HTTP and in gRPC.
type row struct {
	http  int
	grpc  uint32 // https://grpc.github.io/grpc/core/md_doc_statuscodes.html
	retry bool   // the same request may do better later
}

// kinds is the table of all of them.
var kinds = [...]row{
	Internal:     {http.StatusInternalServerError, 13, false}, // INTERNAL
	Syntax:       {http.StatusBadRequest, 3, false},           // INVALID_ARGUMENT
	Key:          {http.StatusUnauthorized, 16, false},        // UNAUTHENTICATED
	Forbidden:    {http.StatusForbidden, 7, false},            // PERMISSION_DENIED
	NotFound:     {http.StatusNotFound, 5, false},             // NOT_FOUND
	Method:       {http.StatusMethodNotAllowed, 12, false},    // UNIMPLEMENTED
	Unacceptable: {http.StatusNotAcceptable, 3, false},
	Slow:         {http.StatusRequestTimeout, 4, false}, // DEADLINE_EXCEEDED
	TooLarge:     {http.StatusRequestEntityTooLarge, 3, false},
	Format:       {http.StatusUnsupportedMediaType, 3, false},
	Value:        {http.StatusUnprocessableEntity, 3, false},
	Busy:         {http.StatusTooManyRequests, 8, true}, // RESOURCE_EXHAUSTED
	Gone:         {StatusClientGone, 1, false},          // CANCELLED
	Unavailable:  {http.StatusServiceUnavailable, 14, true},
	Deadline:     {http.StatusGatewayTimeout, 4, false},
	Unsupported:  {http.StatusNotImplemented, 12, false},
}

// HTTP returns the status code.
func (k Kind) HTTP() int { return kinds[k].http }

// Few returns the status code for clients that know few of them: whatever is
// wrong with what was asked is 400.
func (k Kind) Few() int {
	switch k {
	case Format, Value, Unacceptable:
		return http.StatusBadRequest
	}
	return k.HTTP()
}

// GRPC returns the status code of gRPC.
func (k Kind) GRPC() uint32 { return kinds[k].grpc }

// Retry reports whether the same request may do better later.
func (k Kind) Retry() bool { return kinds[k].retry }

// OfHTTP returns the kind of a status code; Internal of one that no kind has.
func OfHTTP(code int) Kind {
	for k, r := range kinds {
		if r.http == code {
			return Kind(k)
		}
	}
	return Internal
}
