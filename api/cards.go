package api

import v1 "github.com/vitserve/vitserve/api/v1"

// cards describes all models.
func (r *registry) cards() []v1.Model {
	r.mu.Lock()
	defer r.mu.Unlock()
	var cards []v1.Model
	for _, s := range r.slots {
		card := r.card(s)
		card.Labels, card.ClassIDs, card.Focus, card.Corruptions = nil, nil, nil, nil
		cards = append(cards, card)
	}
	return cards
}

// one describes a model, with what is long: its labels, the classes' names in
// their data set, what each of its methods understands, and corruptions.
func (r *registry) one(id string) (v1.Model, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s, err := r.find(id)
	if err != nil {
		return v1.Model{}, err
	}
	return r.card(s), nil
}

// card describes the model of s. The caller holds mu.
func (r *registry) card(s *slot) v1.Model {
	card := v1.Model{ID: s.model.ID, State: v1.Unloaded}
	switch {
	case s.live != nil:
		card = s.live.card
		card.State = v1.Ready
	case s.load != nil:
		card.State = v1.Loading
	case s.reason != "":
		card.State = v1.Failed
	}
	card.Reason = s.reason
	card.Default = s == r.slots[0]
	return card
}
