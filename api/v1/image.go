package v1

// Image is one picture of a JSON request: the schema of that name, which
// OpenAPI refers to where it writes out the bodies of requests.
type Image struct {
	Name string `json:"name,omitempty"` // repeated in the answer
	B64  []byte `json:"b64,omitempty"`  // the file
	URL  string `json:"url,omitempty"`  // in place of b64
}
