package models

import (
	"bufio"
	_ "embed"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/vitserve/vitserve/vit"
)

// imagenet1k are the names of the 1000 classes of the ImageNet Large Scale
// Visual Recognition Challenge 2012 by index, a line each.
//
//go:embed labels/imagenet1k.txt
var imagenet1k string

// imagenet1kSynsets are the same classes by WordNet's ids, which ImageNet's own
// folders are called.
//
//go:embed labels/imagenet1k_synsets.txt
var imagenet1kSynsets string

// SynsetsOf returns WordNet's ids of labels that are ImageNet's 1000 in their
// order, as its own folders are called; nil of any others.
func SynsetsOf(labels []string) []string { return synsets(labels) }

// synsets returns WordNet's ids of names that are ImageNet's, in its order and
// however many of each class's names they give; nil of any others.
func synsets(names []string) []string {
	table := strings.Split(strings.TrimSpace(imagenet1k), "\n")
	if len(names) != len(table) {
		return nil
	}
	same := 0
	for i, n := range names {
		for part := range strings.SplitSeq(n, ",") {
			if strings.EqualFold(strings.TrimSpace(part), table[i]) {
				same++
				break
			}
		}
	}
	const most = 10 // parts in a hundred that are called otherwise
	if same*100 < (100-most)*len(names) {
		return nil
	}
	return strings.Split(strings.TrimSpace(imagenet1kSynsets), "\n")
}

// labels settles the names of the classes, and those they have in their data
// set where the configuration gives both.
func (l *loader) labels() (names, ids []string, err error) {
	k := l.cfg.Classes
	if k == 0 {
		return nil, nil, nil
	}
	names = make([]string, k)
	by := ""
	switch {
	case l.options.Labels != "":
		list, err := readLabels(l.options.Labels)
		if err != nil {
			return nil, nil, err
		}
		if len(list) != k {
			return nil, nil, fmt.Errorf("%s has %d labels, the model has %d classes", l.options.Labels, len(list), k)
		}
		copy(names, list)
		by = l.options.Labels
	case l.config != nil && len(l.config.LabelNames) > 0:
		by = "config.json: label_names"
		ids = make([]string, k)
		for i, n := range l.config.LabelNames {
			if i >= 0 && i < k {
				names[i], ids[i] = n, n
				if said := l.config.LabelDescriptions[n]; said != "" {
					names[i] = said
				}
			}
		}
	case l.config != nil && l.config.saysLabels():
		by = "config.json: id2label"
		for i, n := range l.config.ID2Label {
			if i >= 0 && i < k {
				names[i] = n
			}
		}
	case k == 1000:
		by = "the ImageNet-1k table, for there are 1000 classes and nothing names them"
		copy(names, strings.Split(strings.TrimSpace(imagenet1k), "\n"))
	default:
		by = "nothing names them"
	}
	for i, n := range names {
		if n == "" {
			names[i] = fmt.Sprintf("class %d", i)
		}
	}
	if ids == nil {
		ids = synsets(names)
	}
	l.decide("labels", fmt.Sprintf("%s, …", names[0]), "%s", by)
	return names, ids, nil
}

// scoring settles how logits become scores, as the pipeline of transformers
// does: pipelines/image_classification.py. A single output of timm's is a
// sigmoid for the same reason: a softmax of it is always 1.
func (l *loader) scoring() (vit.Scoring, error) {
	if l.cfg.Classes == 0 {
		return vit.Softmax, nil
	}
	said := ""
	if l.config != nil {
		said = or(l.config.ProblemType, "")
	}
	how, by := vit.Softmax, "there are several classes"
	switch {
	case said == "regression":
		how, by = vit.Raw, "config.json: problem_type"
	case said == "multi_label_classification":
		how, by = vit.Sigmoid, "config.json: problem_type"
	case l.cfg.Classes == 1:
		how, by = vit.Sigmoid, "there is one output"
	case said == "single_label_classification":
		by = "config.json: problem_type"
	case said != "":
		return "", fmt.Errorf("config.json: problem_type %q, want regression, single_label_classification or multi_label_classification", said)
	}
	l.decide("scores", how, "%s", by)
	return how, nil
}

// saysLabels reports whether id2label says anything: transformers fills it
// with LABEL_0, LABEL_1, … where nobody did.
func (c *config) saysLabels() bool {
	for i, n := range c.ID2Label {
		if n != fmt.Sprintf("LABEL_%d", i) {
			return true
		}
	}
	return false
}

// maxLabel bounds the length of a label in bytes.
const maxLabel = 4096

// readLabels reads a file of label names, a line each. Blank lines at the end
// do not count.
func readLabels(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("labels: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxConfig {
		return nil, fmt.Errorf("labels: %s: want a file of at most %d bytes", path, maxConfig)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("labels: %w", err)
	}
	defer f.Close()
	var names []string
	s := bufio.NewScanner(io.LimitReader(f, maxConfig))
	s.Buffer(nil, maxLabel)
	for s.Scan() {
		line := strings.TrimSpace(s.Text())
		if !utf8.ValidString(line) {
			return nil, fmt.Errorf("labels: %s: line %d is not UTF-8", path, len(names)+1)
		}
		names = append(names, line)
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("labels: %s: line %d: %w", path, len(names)+1, err)
	}
	for len(names) > 0 && names[len(names)-1] == "" {
		names = names[:len(names)-1]
	}
	return names, nil
}
