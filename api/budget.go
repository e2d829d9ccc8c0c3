package api

import (
	"io"
	"net/netip"
	"sync"
	"sync/atomic"
)

// budget bounds the bytes of all request bodies in memory. It is charged as
// bytes arrive, so a slow sender holds no more than it has sent, and it never
// waits, so two senders cannot wait for each other.
type budget struct {
	free atomic.Int64
	each int64 // that the bodies of one sender may take; 0: all

	mu   sync.Mutex
	held map[string]int64 // by sender
}

// body is the memory that one request has charged to the budget.
type body struct {
	of   *budget
	from string // whom arriving bytes are counted for; "": nobody
	mine int64  // of held, counted for from
	held int64
}

// charge takes n bytes for what arrives.
func (b *body) charge(n int64) error {
	if err := b.of.count(b.from, n); err != nil {
		return err
	}
	if err := b.answer(n); err != nil {
		_ = b.of.count(b.from, -n)
		return err
	}
	b.mine += n
	return nil
}

// answer takes n bytes for what is sent, which is bounded by what was asked.
func (b *body) answer(n int64) error {
	if b.of.free.Add(-n) < 0 {
		b.of.free.Add(n)
		return errBodies
	}
	b.held += n
	return nil
}

// repay gives back n bytes of those charged.
func (b *body) repay(n int64) {
	_ = b.of.count(b.from, -n)
	b.of.free.Add(n)
	b.mine -= n
	b.held -= n
}

// release gives everything back. The request's bytes must not be used after.
func (b *body) release() {
	_ = b.of.count(b.from, -b.mine)
	b.of.free.Add(b.held)
	b.held, b.mine = 0, 0
}

// count adds n to what a sender holds, if it may.
func (b *budget) count(who string, n int64) error {
	if b.each == 0 || who == "" || n == 0 {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.held[who] + n
	switch {
	case n > 0 && now > b.each:
		return errSender
	case now == 0:
		delete(b.held, who)
	default:
		if b.held == nil {
			b.held = map[string]int64{}
		}
		b.held[who] = now
	}
	return nil
}

// sender is what an address is counted as: itself, or of IPv6 the network of
// 64 bits that one customer is given.
func sender(address string) string {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return address
	}
	if ip = ip.Unmap().WithZone(""); ip.Is4() {
		return ip.String()
	}
	network, err := ip.Prefix(64)
	if err != nil {
		return address
	}
	return network.String()
}

// Where a body is read to first: what is no longer takes what it is, however
// it was declared.
const (
	scratchBytes = 4 << 10
	firstBytes   = 16 << 10
)

var scratches = sync.Pool{New: func() any { return new([scratchBytes]byte) }}

// read reads r to its end. size is how much there will be, or -1.
func (b *body) read(r io.Reader, size int64) ([]byte, error) {
	scratch := scratches.Get().(*[scratchBytes]byte)
	defer scratches.Put(scratch)
	n := 0
	for n < len(scratch) {
		m, err := r.Read(scratch[n:])
		n += m
		if err := b.charge(int64(m)); err != nil {
			return nil, err
		}
		if err == io.EOF {
			return append(make([]byte, 0, n), scratch[:n]...), nil
		}
		if err != nil {
			return nil, err
		}
	}
	buf, charged := scratch[:], int64(n)
	for next := int64(firstBytes); ; next *= 2 {
		if size >= 0 && next > size {
			next = size + 1 // one more, to see the end without growing again
		}
		if next <= int64(len(buf)) {
			next = 2 * int64(len(buf))
		}
		if err := b.charge(next - charged); err != nil {
			return nil, err
		}
		charged = next
		buf = append(make([]byte, 0, next), buf...)
		for len(buf) < cap(buf) {
			n, err := r.Read(buf[len(buf):cap(buf)])
			buf = buf[:len(buf)+n]
			if err == io.EOF {
				return buf, nil
			}
			if err != nil {
				return nil, err
			}
		}
	}
}

// arrivals charges what is read of r while nobody else does: the headers of
// the parts of a form.
type arrivals struct {
	r       io.Reader
	b       *body
	on      bool
	charged int64
}

// Read is of io.Reader.
func (a *arrivals) Read(p []byte) (int, error) {
	n, err := a.r.Read(p)
	if a.on && n > 0 {
		if err := a.b.charge(int64(n)); err != nil {
			return n, err
		}
		a.charged += int64(n)
	}
	return n, err
}

// settle ends charging: of what was read, kept bytes stay in memory.
func (a *arrivals) settle(kept int64) error {
	more := kept - a.charged
	a.on, a.charged = false, 0
	if more < 0 {
		a.b.repay(-more)
		return nil
	}
	return a.b.charge(more)
}
