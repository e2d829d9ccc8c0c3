package api

import (
	"fmt"
	"strconv"

	"github.com/vitserve/vitserve/api/op"
	"github.com/vitserve/vitserve/models"
	"github.com/vitserve/vitserve/vit"
)

// unsure says why a model does not know what is in a picture; "": it does. What
// is not asked for is the model's own.
func (r *resident) unsure(asked op.Abstain, logits []float32) string {
	if asked.MinConfidence == 0 {
		asked.MinConfidence = r.abstain.MinConfidence
	}
	if asked.MinEnergy == nil {
		asked.MinEnergy = r.abstain.MinEnergy
	}
	if asked.MinConfidence > 0 {
		if best := r.model.Checkpoint.Top(logits, 1, 0)[0].Score; best < asked.MinConfidence {
			return fmt.Sprintf("confidence %.4g is below min_confidence %.4g", best, asked.MinConfidence)
		}
	}
	if asked.MinEnergy != nil {
		if e := vit.Energy(logits); e < *asked.MinEnergy {
			return fmt.Sprintf("energy %.4g is below min_energy %.4g", e, *asked.MinEnergy)
		}
	}
	return ""
}

// drift observes an answer for dashboards: a change of the photos, or of the
// model, changes how sure it is and what it sees.
func (j *job) drift(which op.Labels, answered []models.Prediction, logits []float32) {
	m := j.s.met
	if m.confidence == nil {
		return
	}
	if len(answered) == 0 || which.Scoring != "" {
		answered = j.model.model.Checkpoint.Top(logits, 1, 0)
	}
	best := answered[0]
	m.confidence.WithLabelValues(j.model.id).Observe(best.Score)
	m.classes.WithLabelValues(j.model.id, strconv.Itoa(best.Index), best.Label).Inc()
}
