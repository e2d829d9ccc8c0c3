package hostile

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// Body is a hostile body of a request that ought to hold pictures.
type Body struct {
	Kind string
	Head string // header lines of the request beside Host, each ended by CRLF
	Data []byte
	// Every is how long to wait after each of Piece bytes; 0: send all at once.
	Every time.Duration
	Piece int
	// Silent says that the sender goes on listening and sends no more, though
	// the header promises more.
	Silent bool
}

const formType = "Content-Type: multipart/form-data; boundary=x\r\n"

// complete is a body that is as long as its header says.
func complete(kind, head string, data []byte) Body {
	return Body{Kind: kind, Head: fmt.Sprintf("%sContent-Length: %d\r\n", head, len(data)), Data: data}
}

// silent is a body whose sender falls silent in the middle.
func silent(kind, head string, data []byte) Body {
	return Body{Kind: kind, Head: fmt.Sprintf("%sContent-Length: %d\r\n", head, 31<<20), Data: data, Silent: true}
}

// fillWith repeats a piece up to n bytes.
func fillWith(piece string, n int) []byte {
	return bytes.Repeat([]byte(piece), max(1, n/len(piece)))
}

// Bodies makes a body of every kind, of the budget's bytes. The same seed and
// budget give the same bytes.
func Bodies(seed uint64, b Budget) []Body {
	const json = "Content-Type: application/json\r\n"
	rng := rand.New(rand.NewPCG(seed, 99))
	part := "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\nG\r\n"
	field := "--x\r\nContent-Disposition: form-data; name=\"top_k\"\r\n\r\n1\r\n"
	wrap := func(before string, middle []byte, after string) []byte {
		return bytes.Join([][]byte{[]byte(before), middle, []byte(after)}, nil)
	}
	text := base64.StdEncoding.EncodeToString(noise(rng, b.Bytes/2))
	var chunks bytes.Buffer
	for chunks.Len() < b.Bytes/4 {
		fmt.Fprintf(&chunks, "1;%s\r\n%c\r\n", strings.Repeat("e", rng.IntN(20)), 'G')
	}
	trickle := complete("one byte at a time", "", noise(rng, 64))
	trickle.Every, trickle.Piece = 500*time.Millisecond, 1
	return []Body{
		silent("tiny parts, then silence", formType, fillWith(part, b.Bytes)),
		complete("tiny parts", formType, append(fillWith(part, b.Bytes), "--x--\r\n"...)),
		complete("tiny fields", formType, append(fillWith(field, b.Bytes), "--x--\r\n"...)),
		complete("a part with endless headers", formType, wrap("--x\r\n", fillWith("A: b\r\n", b.Bytes), "\r\nG\r\n--x--\r\n")),
		complete("a form that never begins", formType, fillWith("--y\r\n", b.Bytes)),
		complete("a form without a boundary", "Content-Type: multipart/form-data\r\n", fillWith(part, b.Bytes)),
		complete("nested lists", json, fillWith("[", b.Bytes)),
		complete("nested objects", json, fillWith(`{"images":`, b.Bytes)),
		complete("nested objects that nobody asked for", json, wrap(`{"x":`, fillWith(`{"a":`, b.Bytes), `1`)),
		complete("many empty pictures", json, wrap(`{"images":[`, fillWith(`{"b64":""},`, b.Bytes), `{"b64":""}]}`)),
		complete("many tiny pictures", json, wrap(`{"images":[`, fillWith(`{"b64":"R0lGODlh"},`, b.Bytes), `{"b64":"R0lGODlh"}]}`)),
		complete("base64 of noise", json, wrap(`{"images":[{"b64":"`, []byte(text), `"}]}`)),
		complete("base64 with a fault at its end", json, wrap(`{"images":[{"b64":"`, []byte(text), `!"}]}`)),
		complete("escapes", json, wrap(`{"images":[{"name":"`, fillWith(`\u0000`, b.Bytes), `","b64":""}]}`)),
		complete("a number without end", json, wrap(`{"top_k":`, fillWith("9", b.Bytes), `,"images":[]}`)),
		silent("a text without end", json, wrap(`{"images":[{"b64":"`, fillWith("A", b.Bytes), "")),
		{Kind: "chunks of one byte", Head: "Transfer-Encoding: chunked\r\n", Data: append(chunks.Bytes(), "0\r\n\r\n"...)},
		complete("packed", "Content-Encoding: deflate\r\n", deflated(b.Pixels)),
		silent("a length and nothing else", "", nil),
		trickle,
	}
}
