package op_test

import (
	"compress/gzip"
	"compress/zlib"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/api/op"
)

// TestFold: what is long is compressed for whoever takes that, and no other.
func TestFold(t *testing.T) {
	long := strings.Repeat("0.123,", 1000)
	for _, e := range []struct{ accept, coding string }{
		{"", ""}, {"br, zstd", ""}, {"identity", ""}, {"gzip;q=0", ""}, {"gzip;q=x", ""}, {"*", ""},
		{"gzip", "gzip"}, {"GZIP", "gzip"}, {"gzip, deflate, br", "gzip"}, {"br;q=1, gzip;q=0.2", "gzip"},
		{"deflate", "deflate"}, {"gzip;q=0.5,deflate", "deflate"}, {"gzip;q=0, deflate;q=0.1", "deflate"},
	} {
		for _, text := range []string{long, "short"} {
			w := httptest.NewRecorder()
			r := httptest.NewRequest(http.MethodPost, "/", nil)
			r.Header.Set("Accept-Encoding", e.accept)
			to := op.Fold(w, r, len(text))
			_, err := io.WriteString(to, text)
			require.NoError(t, err)
			require.NoError(t, to.Close())
			require.Equal(t, "Accept-Encoding", w.Header().Get("Vary"))
			want := e.coding
			if text != long {
				want = ""
			}
			require.Equal(t, want, w.Header().Get("Content-Encoding"), e.accept)
			var from io.Reader = w.Body
			switch want {
			case "gzip":
				require.Less(t, w.Body.Len(), len(text)/10)
				from, err = gzip.NewReader(w.Body)
			case "deflate":
				from, err = zlib.NewReader(w.Body)
			default:
				require.Equal(t, strconv.Itoa(len(text)), w.Header().Get("Content-Length"))
			}
			require.NoError(t, err)
			got, err := io.ReadAll(from)
			require.NoError(t, err)
			require.Equal(t, text, string(got))
		}
	}
}
