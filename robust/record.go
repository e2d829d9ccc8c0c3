package robust

import (
	"encoding/binary"
	"math"

	"github.com/vitserve/vitserve/robust/measure"
)

// Record is what is kept of a photo's answer in a cell. What is not known is
// NaN.
type Record struct {
	Answered bool
	Class    int // of the highest score
	Rank     int // of the photo's class, from 0; -1: it has none
	Real     int // 1: the answer is among the photo's ReaL labels, 0: not; -1: it has none

	Confidence, NLL, Brier, Entropy float64
	MaxLogit, Energy                float64
	KL                              float64       // from the clean answer
	Drift                           measure.Drift // from the clean map
	Flips, Top5Distance             float64       // of a sequence

	Attacked Attacked
}

const recordSize = 8*4 + 16*8

func (r *Record) numbers() [16]*float64 {
	return [16]*float64{
		&r.Confidence, &r.NLL, &r.Brier, &r.Entropy, &r.MaxLogit, &r.Energy, &r.KL,
		&r.Drift.Cosine, &r.Drift.Spearman, &r.Drift.JS, &r.Drift.IoU, &r.Flips, &r.Top5Distance,
		&r.Attacked.Queries, &r.Attacked.Linf, &r.Attacked.L2,
	}
}

// noAttack is what is kept where there was none.
func noAttack() Attacked {
	return Attacked{Success: -1, AsBytes: -1, Target: -1, Queries: math.NaN(), Linf: math.NaN(), L2: math.NaN()}
}

// unknown is a record of no answer.
func unknown() Record {
	r := Record{Class: -1, Rank: -1, Real: -1, Attacked: noAttack()}
	for _, v := range r.numbers() {
		*v = math.NaN()
	}
	return r
}

func (r *Record) append(b []byte) []byte {
	answered := uint32(0)
	if r.Answered {
		answered = 1
	}
	b = binary.LittleEndian.AppendUint32(b, answered)
	a := &r.Attacked
	for _, v := range []int{r.Class, r.Rank, r.Real, a.Success, a.AsBytes, a.Target, 0} {
		b = binary.LittleEndian.AppendUint32(b, uint32(int32(v)))
	}
	for _, v := range r.numbers() {
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(*v))
	}
	return b
}

// decode reads what append wrote; b has at least recordSize bytes.
func (r *Record) decode(b []byte) {
	word := func(i int) int { return int(int32(binary.LittleEndian.Uint32(b[4*i:]))) }
	r.Answered, r.Class, r.Rank, r.Real = word(0) == 1, word(1), word(2), word(3)
	r.Attacked.Success, r.Attacked.AsBytes, r.Attacked.Target = word(4), word(5), word(6)
	for i, v := range r.numbers() {
		*v = math.Float64frombits(binary.LittleEndian.Uint64(b[8*4+8*i:]))
	}
}

// Right reports whether the photo's class is the answer. A photo without an
// answer is wrong.
func (r *Record) Right() bool { return r.Answered && r.Rank == 0 }
