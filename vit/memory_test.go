package vit

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/backend/cpu"
)

// TestForwardAllocatesNoActivation: neither the heap nor the backend gives
// memory to a pass that is like one before. What a pass leaves to the
// collector is its answer, far less than the tokens of one image.
func TestForwardAllocatesNoActivation(t *testing.T) {
	device := newCPU(t, 2)
	c := deitTi()
	c.Depth = 2
	for _, batch := range []int{1, 3} {
		t.Run(fmt.Sprintf("batch %d", batch), func(t *testing.T) {
			s := newSession(t, device, c, Random(c, 1), batch)
			pixels := photos(c, batch, 1)
			forward := func() {
				_, err := s.Forward(pixels, Wants{})
				require.NoError(t, err)
			}
			forward() // compiles the program
			held := device.(*cpu.Backend).Bytes()

			const passes = 20
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for range passes {
				forward()
			}
			runtime.ReadMemStats(&after)
			each := int(after.TotalAlloc-before.TotalAlloc) / passes
			answer := 4 * batch * (c.Classes + c.Features())
			tokens := 4 * c.Tokens() * c.Dim
			require.Less(t, answer, tokens/4, "the limit tells an answer from an activation")
			require.Less(t, each, answer+tokens/4, "bytes of garbage a pass")
			require.Equal(t, held, device.(*cpu.Backend).Bytes(), "bytes that the backend holds")
			t.Logf("%d bytes a pass, of which %d are its answer", each, answer)
		})
	}
}
