package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/vitserve/vitserve/models"
	"github.com/vitserve/vitserve/robust"
)

// fitBeside is the file of --fit-temperature that has no name: the one beside the
// model.
const fitBeside = "beside"

// temperatureFile is what --fit-temperature writes: what a server reads, and how
// it came about.
type temperatureFile struct {
	models.Calibration
	Fit *robust.Temperature `json:"fit"` // cross-fitted on halves, see docs/robustness.md

	Protocol string `json:"protocol_sha256"`
	Data     string `json:"photos_sha256"` // of names and labels
}

// temperaturePlace is the file of --fit-temperature, found before anything is
// measured.
func (f *robustFlags) temperaturePlace(t robust.Target) (string, error) {
	if f.fit == "" {
		return "", nil
	}
	local, ok := t.(*modelTarget)
	if !ok {
		return "", errors.New("--fit-temperature with --url: a temperature is fitted for weights, want a model in this process")
	}
	if f.fit != fitBeside {
		if dir := filepath.Dir(f.fit); !isFolder(dir) {
			return "", fmt.Errorf("--fit-temperature=%s: no such folder: %s", f.fit, dir)
		}
		return f.fit, nil
	}
	name := local.m.Checkpoint.Beside(models.TemperatureFile)
	if name == "" {
		return "", fmt.Errorf("--fit-temperature: nothing lies beside model %s, want --fit-temperature=FILE", local.m.Checkpoint.Name)
	}
	return name, nil
}

// writeTemperature writes the file; "" is none.
func writeTemperature(name string, r *robust.Report) error {
	if name == "" {
		return nil
	}
	if r.Protocol.Classes != nil {
		return errors.New("--fit-temperature: answers are restricted to some of the classes, and a server's are not; want --class-subset all")
	}
	if r.Temperature == nil {
		return errors.New("--fit-temperature: want 20 photos or more whose class the model has, and that it answers")
	}
	t := temperatureFile{
		Calibration: models.Calibration{Temperature: r.Temperature.All, Weights: r.Target.Sum, Photos: r.Temperature.Photos},
		Fit:         r.Temperature, Protocol: r.Hash, Data: r.Data.Digest,
	}
	err := createFile(name, func(w io.Writer) error {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(t)
	})
	if err != nil {
		return fmt.Errorf("--fit-temperature: %w", err)
	}
	return nil
}
