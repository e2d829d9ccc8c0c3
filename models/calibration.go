package models

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/vitserve/vitserve/vit"
)

// TemperatureFile is how a temperature file is called beside a model.
const TemperatureFile = "temperature.json"

// Calibration is what a temperature file says of a model. vitserve robust
// --fit-temperature writes it.
//
// Guo et al., "On Calibration of Modern Neural Networks",
// https://arxiv.org/abs/1706.04599, section 4.2.
type Calibration struct {
	Temperature float64 `json:"temperature"`    // that logits are divided by before the softmax
	Weights     string  `json:"weights_sha256"` // of the model that it was fitted for
	Photos      int     `json:"photos"`         // that it was fitted on
}

// largestCalibration bounds a temperature file.
const largestCalibration = 1 << 20

// ReadCalibration reads a temperature file. What else it says is for people.
func ReadCalibration(name string) (*Calibration, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("models: temperature file: %w", err)
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, largestCalibration+1))
	if err != nil {
		return nil, fmt.Errorf("models: temperature file %s: %w", name, err)
	}
	if len(data) > largestCalibration {
		return nil, fmt.Errorf("models: temperature file %s: more than %d bytes", name, largestCalibration)
	}
	var c Calibration
	if err := json.Unmarshal(data, &c); err != nil {
		return nil, fmt.Errorf("models: temperature file %s: %w", name, err)
	}
	if !(c.Temperature >= 0.001 && c.Temperature <= 1000) {
		return nil, fmt.Errorf("models: temperature file %s: temperature %g, want 0.001 to 1000", name, c.Temperature)
	}
	return &c, nil
}

// Calibrate has scores made at a temperature from now on. It was fitted for the
// weights that the checkpoint has, which must be open.
func (c *Checkpoint) Calibrate(t *Calibration) error {
	switch {
	case c.Config.Classes == 0:
		return fmt.Errorf("models: temperature: model %s has no classes", c.Name)
	case c.Scoring != vit.Softmax && c.Scoring != "":
		return fmt.Errorf("models: temperature: the scores of model %s are by %s, want %s", c.Name, c.Scoring, vit.Softmax)
	case t.Weights != c.Revision():
		return fmt.Errorf("models: temperature: it was fitted for other weights than those of model %s: %.12s…, want %.12s…", c.Name, t.Weights, c.Revision())
	}
	c.Temperature = t.Temperature
	note := fmt.Sprintf("scores are at temperature %.4g, fitted on %d photos", t.Temperature, t.Photos)
	if c.Note != "" {
		note = c.Note + "; " + note
	}
	c.Note = note
	return nil
}

// Beside returns the name of a file beside the checkpoint; "": there is no place,
// for it is embedded.
func (c *Checkpoint) Beside(name string) string {
	info, err := os.Stat(c.Source)
	switch {
	case err != nil:
		return ""
	case info.IsDir():
		return filepath.Join(c.Source, name)
	}
	return filepath.Join(filepath.Dir(c.Source), name)
}

// scores are those of logits (K), at the checkpoint's temperature where they add
// up to one.
func (c *Checkpoint) scores(logits []float32, how vit.Scoring) []float64 {
	if c.Temperature == 0 || how != vit.Softmax && how != "" {
		return vit.Scores(logits, how)
	}
	z := make([]float32, len(logits))
	for i, v := range logits {
		z[i] = float32(float64(v) / c.Temperature)
	}
	return vit.Scores(z, how)
}
