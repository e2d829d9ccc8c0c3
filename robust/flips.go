package robust

import (
	"encoding/json"
	"fmt"
	"os"
)

// Flips compares flip rates and top-5 distances with those of a reference, as
// ImageNet-P's mFR and mT5D do with AlexNet's: each sequence's over the
// reference's, and 100 times the mean. AlexNet's numbers are in no program or
// table that was found, so the reference is a report of another model.
//
// Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common
// Corruptions and Perturbations", https://arxiv.org/abs/1903.12261, section 4.4.
type Flips struct {
	Reference string      `json:"reference"` // the model's name
	Protocol  string      `json:"protocol_sha256"`
	MFR       Value       `json:"mfr"`  // percent of the reference's
	MT5D      Value       `json:"mt5d"` // likewise
	By        []FlipRatio `json:"by_sequence"`
}

// FlipRatio is of one sequence.
type FlipRatio struct {
	Name     string  `json:"name"`
	Flips    float64 `json:"flip_rate_ratio"`
	Distance float64 `json:"top5_distance_ratio"`
}

// CompareFlips reads the JSON report of a reference, which must have every
// sequence that r has, and divides by it.
func (r *Report) CompareFlips(name string) error {
	data, err := os.ReadFile(name)
	if err != nil {
		return fmt.Errorf("robust: flip reference: %w", err)
	}
	type number struct {
		Value *float64 `json:"value"`
	}
	var ref struct {
		Hash    string `json:"protocol_sha256"`
		Target  About  `json:"target"`
		Results []struct {
			Name         string `json:"name"`
			FlipRate     number `json:"flip_rate"`
			Top5Distance number `json:"top5_distance"`
		} `json:"results"`
	}
	if err := json.Unmarshal(data, &ref); err != nil {
		return fmt.Errorf("robust: flip reference %s, want a JSON report of vitserve robust: %w", name, err)
	}
	f := &Flips{Reference: ref.Target.Model, Protocol: ref.Hash}
	var flips, distances []float64
	for _, res := range r.Results {
		if res.FlipRate == nil {
			continue
		}
		found := false
		for _, of := range ref.Results {
			if of.Name != res.Name || of.FlipRate.Value == nil || of.Top5Distance.Value == nil {
				continue
			}
			if *of.FlipRate.Value <= 0 || *of.Top5Distance.Value <= 0 {
				return fmt.Errorf("robust: flip reference %s: no answer flips in %s, want a reference whose answers do", name, res.Name)
			}
			found = true
			ratio := FlipRatio{res.Name, res.FlipRate.Value / *of.FlipRate.Value, res.Top5Distance.Value / *of.Top5Distance.Value}
			f.By = append(f.By, ratio)
			flips, distances = append(flips, 100*ratio.Flips), append(distances, 100*ratio.Distance)
		}
		if !found {
			return fmt.Errorf("robust: flip reference %s has no %s, want a report of the suite imagenet-p", name, res.Name)
		}
	}
	if len(flips) == 0 {
		return fmt.Errorf("robust: flip reference %s: this run has no sequences, want the suite imagenet-p", name)
	}
	f.MFR, f.MT5D = *plain(average(flips)), *plain(average(distances))
	r.Flips = f
	return nil
}
