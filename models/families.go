package models

// Family is a way of naming tensors that is read.
type Family struct {
	Name    string   // as people see it
	Library string   // that writes it
	Types   []string // model_types of config.json that it is read for; nil: any
}

// Families returns the table of what loads: see docs/families.md.
func Families() (all []Family) {
	for _, y := range layouts {
		all = append(all, Family{Name: y.name, Library: y.library, Types: append([]string(nil), y.types...)})
	}
	return all
}
