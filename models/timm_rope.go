package models

import (
	_ "embed"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// timmRopeTable is written by testdata/make_archs.py.
//
//go:embed timm_ropes.csv
var timmRopeTable string

// timmRopes are the rotary positions of timm 1.0.31's architectures by name.
var timmRopes = sync.OnceValue(func() map[string]rope {
	rows, err := csv.NewReader(strings.NewReader(timmRopeTable)).ReadAll()
	all := map[string]rope{}
	number := func(text string) (f float64) {
		if err == nil {
			f, err = strconv.ParseFloat(text, 64)
		}
		return f
	}
	for _, row := range rows[min(1, len(rows)):] {
		r := rope{
			kind: ropeKind(row[1]), temperature: number(row[2]), offset: number(row[3]),
			xy: row[4] == "xy", ref: [2]int{int(number(row[5])), int(number(row[6]))}, halves: row[7] == "True",
		}
		for i, n := range strings.Fields(row[8]) {
			r.section[i] = int(number(n))
		}
		all[row[0]] = r
	}
	if err != nil {
		panic(fmt.Sprintf("models: timm_ropes.csv: %v", err))
	}
	return all
})

// timmRope settles the rotary positions, which leave no trace in the tensors
// but where they are learned: those of the architecture, changed by model_args.
func (l *loader) timmRope() error {
	arch := ""
	if l.config != nil {
		arch = l.config.Architecture
	}
	r, by := timmRopes()[arch], "architecture "+arch
	if err := l.timmRopeArgs(&r); err != nil {
		return err
	}
	if periods := dinov3Periods; l.Has(periods) { // Meta's own
		r = rope{kind: ropeDINOv3, temperature: 100, halves: true}
		r.bands = l.Get(periods, l.cfg.Dim/l.cfg.Heads/4).Float32s()
		by = "tensor " + periods
	}
	if l.Has("rope.freqs") != (r.kind == ropeMixed) {
		return fmt.Errorf("rotary positions of kind %q, and tensor rope.freqs: %v; want both or none", ropeMixed, l.Has("rope.freqs"))
	}
	if r.kind == ropeMixed {
		r.freqs = l.Get("rope.freqs", 2, l.cfg.Depth, l.cfg.Heads, l.cfg.Dim/l.cfg.Heads/2)
	}
	if r.kind == ropeNone && l.raw.pos == nil && !l.cfg.Relative {
		if a, known := timmArchs()[arch]; !known || a.dim == 0 {
			return fmt.Errorf("where patches are is not known: there is no tensor pos_embed, and nothing says of architecture %q what it has in its place; use_rot_pos_emb and rope_type in config.json's model_args would", arch)
		}
	}
	l.rope = r
	l.rope.config(&l.cfg)
	if r.kind != ropeNone {
		l.decide("rotary positions", fmt.Sprintf("%s, %s", r.kind, l.cfg.Rope), "%s", by)
	}
	return r.check(l.cfg.Dim / l.cfg.Heads)
}

// timmRopeArgs are those of timm's Eva: timm/models/eva.py.
func (l *loader) timmRopeArgs(r *rope) error {
	if l.config == nil {
		return nil
	}
	var errs []error
	use, kind, indexing := r.kind != ropeNone, "", ""
	section := r.section[:]
	var ref json.RawMessage
	said := map[string]bool{}
	for key, v := range map[string]any{
		"use_rot_pos_emb": &use, "rope_type": &kind, "rope_temperature": &r.temperature, "rope_grid_offset": &r.offset,
		"rope_grid_indexing": &indexing, "rope_rotate_half": &r.halves, "rope_mrope_section": &section, "ref_feat_shape": &ref,
	} {
		found, err := l.config.arg(key, v)
		said[key] = found
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil || !use {
		*r = rope{}
		return err
	}
	if r.kind == ropeNone {
		r.kind = ropeAxial
		if !said["rope_temperature"] {
			r.temperature = 10000
		}
	}
	if said["rope_type"] {
		kinds := map[string]ropeKind{"cat": ropeAxial, "mixed": ropeMixed, "dinov3": ropeDINOv3, "mrope": ropeMulti}
		if r.kind = kinds[kind]; r.kind == ropeNone {
			return fmt.Errorf("config.json: model_args.rope_type %q, want cat, mixed, dinov3 or mrope", kind)
		}
	}
	if said["rope_grid_indexing"] {
		if r.xy = indexing == "xy"; !r.xy && indexing != "ij" {
			return fmt.Errorf("config.json: model_args.rope_grid_indexing %q, want ij or xy", indexing)
		}
	}
	if said["ref_feat_shape"] {
		var d dimension
		if err := d.UnmarshalJSON(ref); err != nil {
			return fmt.Errorf("config.json: model_args.ref_feat_shape: %w", err)
		}
		r.ref = d.square()
	}
	if r.kind != ropeAxial {
		r.ref = [2]int{}
	}
	if r.kind == ropeMulti {
		r.halves = true
		if r.section == [3]int{} && !said["rope_mrope_section"] {
			section = []int{8, 12, 12}
		}
		if len(section) != 3 || slices.Min(section) < 0 {
			return fmt.Errorf("config.json: model_args.rope_mrope_section %v, want three numbers", section)
		}
		copy(r.section[:], section)
	}
	return nil
}
