package robust

import (
	"encoding/json"
	"fmt"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Matcher finds the class of a target that a label of the data means.
type Matcher struct {
	names     map[string]int // of whole labels, in lower case
	parts     map[string]int // of the names that a label lists
	ambiguous map[string]bool
	ids       map[string]int
	classes   int
}

// NewMatcher returns one of a target's labels, by class, and of the ids that the
// classes have in their data set; nil: none.
func NewMatcher(labels, ids []string) *Matcher {
	m := &Matcher{map[string]int{}, map[string]int{}, map[string]bool{}, map[string]int{}, len(labels)}
	add := func(to map[string]int, name string, class int) {
		name = strings.ToLower(strings.TrimSpace(name))
		if old, ok := to[name]; ok && old != class {
			m.ambiguous[name] = true
		}
		to[name] = class
	}
	for i, l := range labels {
		add(m.names, l, i)
		for part := range strings.SplitSeq(l, ",") {
			if strings.TrimSpace(part) != "" {
				add(m.parts, part, i)
			}
		}
	}
	for i, id := range ids {
		if id != "" {
			m.ids[id] = i
		}
	}
	return m
}

// Class finds a class: by its id (n02123045), by its index ("0" to "999", as
// ImageNet-V2's folders are called), or by a label in letters of any case or one
// of the names that it lists. A name that several classes have is an error.
func (m *Matcher) Class(label string) (class int, ok bool, err error) {
	if class, ok = m.ids[label]; ok {
		return class, true, nil
	}
	name := strings.ToLower(strings.TrimSpace(label))
	if class, ok = m.names[name]; !ok {
		class, ok = m.parts[name]
	}
	if ok && m.ambiguous[name] {
		return 0, false, fmt.Errorf("label %q: several classes of the model have this name; use their indices", label)
	}
	if ok {
		return class, true, nil
	}
	if i, err := strconv.Atoi(name); err == nil && i >= 0 && i < m.classes {
		return i, true, nil
	}
	return 0, false, nil
}

// Classes returns how many classes there are.
func (m *Matcher) Classes() int { return m.classes }

// Subset returns the classes that labels mean, in their order; those of labels
// that no class has are counted.
func (m *Matcher) Subset(labels []string) (classes []int, unknown int, err error) {
	for _, l := range labels {
		class, ok, err := m.Class(l)
		if err != nil {
			return nil, 0, err
		}
		if !ok {
			unknown++
		} else if !slices.Contains(classes, class) {
			classes = append(classes, class)
		}
	}
	slices.Sort(classes)
	return classes, unknown, nil
}

// validation finds the number of a photo of ImageNet's validation set.
var validation = regexp.MustCompile(`ILSVRC2012_val_(\d{8})`)

// ReadReaL reads real.json of https://github.com/google-research/reassessed-imagenet:
// a list of classes for each photo of the validation set. Photos whose list is
// empty are left out.
//
// Beyer et al., "Are we done with ImageNet?", https://arxiv.org/abs/2006.07159.
func ReadReaL(name string) (func(photo string) ([]int, bool), error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("robust: ReaL: %w", err)
	}
	var lists [][]int
	if err := json.Unmarshal(data, &lists); err != nil {
		return nil, fmt.Errorf("robust: ReaL: %s: %w", name, err)
	}
	return func(photo string) ([]int, bool) {
		found := validation.FindStringSubmatch(path.Base(photo))
		if found == nil {
			return nil, false
		}
		i, err := strconv.Atoi(found[1])
		if err != nil || i < 1 || i > len(lists) || len(lists[i-1]) == 0 {
			return nil, false
		}
		return lists[i-1], true
	}, nil
}
