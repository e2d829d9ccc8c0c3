package models

import (
	"fmt"

	"github.com/vitserve/vitserve/backend"
	"github.com/vitserve/vitserve/vit"
)

// timmReduces are timm's ways of making one token of many, by its names.
var timmReduces = map[string]vit.Reduce{"avg": vit.ReduceMean, "max": vit.ReduceMax, "avgmax": vit.ReduceMeanMax}

// timmPoolName returns timm's name of the pooling, and what says it.
func (l *loader) timmPoolName() (pool, by string, err error) {
	if l.config != nil {
		if found, err := l.config.arg("global_pool", &pool); err != nil || found {
			return pool, "config.json: model_args.global_pool", err
		}
		if l.config.GlobalPool != nil {
			return *l.config.GlobalPool, "config.json: global_pool", nil
		}
	}
	switch {
	case l.Has("attn_pool.latent"):
		return "map", "tensor attn_pool.latent", nil
	case l.Has("fc_norm.weight"):
		return "avg", "tensor fc_norm.weight", nil
	case l.Has("cls_token"):
		return "token", "tensor cls_token", nil
	}
	return "avg", "no tensor cls_token", nil
}

// timmPool settles where the features come from and where the last norm
// stands.
func (l *loader) timmPool() error {
	pool, by, err := l.timmPoolName()
	if err != nil {
		return err
	}
	first, err := l.timmFirstPooled()
	if err != nil {
		return err
	}
	c := &l.cfg
	reduce, reduced := timmReduces[pool]
	switch {
	case pool == "token" && l.Has("dist_token"):
		c.Pool = []backend.Span{{Lo: 0, Hi: 1}, {Lo: 1, Hi: 2}}
		if !l.Has("head.weight") {
			c.Pool = []backend.Span{{Lo: 0, Hi: 2}} // timm's features are then the mean of both
		}
	case pool == "token" && c.Prefix > 0:
		c.Pool = clsPool
	case reduced && !l.Has("dist_token"):
		c.Pool, c.Reduce = []backend.Span{{Lo: first, Hi: c.Tokens()}}, reduce
	case pool == "prr" && !l.Has("dist_token"):
		// Every token is refined; the class token, or the mean of all, is pooled.
		if c.Pool, c.Refine = clsPool, true; !l.Has("cls_token") {
			c.Pool = []backend.Span{{Lo: 0, Hi: c.Tokens()}}
		}
	case pool == "map":
		l.timmProbe(first)
	case pool == "" && !l.Has("head.weight"):
		// Every token is a feature to timm. One vector of the image is that of
		// the class token, or the mean of the patches.
		if c.Pool = clsPool; !l.Has("cls_token") {
			c.Pool = []backend.Span{{Lo: c.Prefix, Hi: c.Tokens()}}
		}
		l.note = "the model does not pool its tokens: what it makes of an image is a vector of each patch"
	case pool == "":
		return fmt.Errorf("%s is empty and there is a head: it classifies every token by itself, which is not supported", by)
	default:
		return fmt.Errorf("%s is %q, want token, avg, max, avgmax, map, prr or nothing (a class token for token, and nothing but token beside a distillation token)", by, pool)
	}
	if pool != "map" { // which has said so itself
		l.decide("pool", pool, "%s", by)
	}
	return l.timmLastNorm()
}

// timmFirstPooled returns the first token that a mean or a probe pools.
func (l *loader) timmFirstPooled() (int, error) {
	if l.config == nil {
		return l.cfg.Prefix, nil
	}
	all := timmArchs()[l.config.Architecture].prefixPooled
	if found, err := l.config.arg("pool_include_prefix", &all); err != nil {
		return 0, err
	} else if found || all {
		l.decide("prefix tokens are pooled", all, "config.json")
	}
	if all {
		return 0, nil
	}
	return l.cfg.Prefix, nil
}

// timmLastNorm settles where the last norm stands.
func (l *loader) timmLastNorm() error {
	final := true
	if l.config != nil {
		final = timmArchs()[l.config.Architecture].last != "none"
		if _, err := l.config.arg("final_norm", &final); err != nil {
			return err
		}
	}
	switch {
	case !final && !l.Has("norm.weight") && !l.Has("fc_norm.weight"):
		l.cfg.FinalNorm = vit.NormNone
		l.decide("last norm", "none", "config.json")
	case l.Has("fc_norm.weight"):
		l.cfg.FinalNorm, l.raw.norm = vit.NormPooled, l.norm("fc_norm")
		l.decide("last norm", "over the pooled features", "tensor fc_norm.weight")
	default:
		// A file whose last norm was lost is far likelier than a model without
		// one that does not say so.
		l.cfg.FinalNorm, l.raw.norm = vit.NormTokens, l.norm("norm")
		l.decide("last norm", "over the tokens", "tensor norm.weight")
	}
	return nil
}
