package browsertest

import (
	"testing"
)

func TestPhoto(t *testing.T) {
	s := serve(t)
	for _, width := range []int64{360, 1280} {
		p := open(t, s.url, width)
		p.wait("document.querySelector('#model').options.length === 1")
		p.accessible()
		p.give(image("banana.jpg"))
		p.answered("banana.jpg")
		p.accessible()
		p.shoot("photo-" + t.Name() + map[int64]string{360: "-360", 1280: "-1280"}[width])
	}
}
