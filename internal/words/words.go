// Package words has errors in the words of those who read them: without the
// names of the packages that they came through, and with the name that was
// meant where another was written.
package words

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Plain is err's text for people.
func Plain(err error) string { return PlainText(err.Error()) }

// quoted is what a user wrote, and prefixed the name of a package before an
// error of it. What is quoted is left as it is.
var (
	quoted   = `"(?:[^"\\]|\\.)*"`
	prefixed = regexp.MustCompile(quoted + `|(^|: |, |; |[\n(])(?:(?:` + strings.Join(packages, "|") + `): )+`)
	parsed   = regexp.MustCompile(`strconv\.\w+: parsing (` + quoted + `): (?:invalid syntax|value out of range)`)
	typed    = regexp.MustCompile(`(?:json: )?cannot unmarshal (\S+(?: ` + "`[^`]*`" + `)?) into (?:Go (?:struct field (\S+)|value) of type )?(struct \{[^}]*\}|\S+)`)
	declared = regexp.MustCompile("`([^`]*)`")
)

// packages are those whose errors begin with their names.
var packages = []string{
	"api", "attention", "backend", "batch", "client", "corrupt", "cpu", "external", "focus", "hub", "json", "models", "patch", "pflag", "pickle",
	"ref", "robust", "safetensors", "v1", "vit", "vitserve", "yaml",
}

// PlainText is Plain of an error's text.
func PlainText(text string) string {
	text = parsed.ReplaceAllStringFunc(text, func(found string) string {
		value := parsed.FindStringSubmatch(found)[1]
		if strings.HasSuffix(found, "range") {
			return value + " is too large"
		}
		return value + " is no number"
	})
	text = typed.ReplaceAllStringFunc(text, func(found string) string {
		m := typed.FindStringSubmatch(found)
		what := kind(m[1])
		if v := declared.FindStringSubmatch(m[1]); v != nil {
			what = v[1]
		}
		if m[2] != "" {
			_, field, _ := strings.Cut(m[2], ".")
			return fmt.Sprintf("%s is %s, want %s", field, what, kind(m[3]))
		}
		return fmt.Sprintf("%s, want %s", what, kind(m[3]))
	})
	return prefixed.ReplaceAllStringFunc(text, func(found string) string {
		if found[0] == '"' {
			return found
		}
		return prefixed.FindStringSubmatch(found)[1]
	})
}

// kind says what a type of JSON, YAML or Go is.
func kind(name string) string {
	name = strings.TrimLeft(name, "*!")
	switch {
	case strings.HasPrefix(name, "[]"), name == "array", strings.HasPrefix(name, "seq"):
		return "a list"
	case strings.HasPrefix(name, "int"), strings.HasPrefix(name, "uint"):
		return "a whole number"
	case strings.HasPrefix(name, "float"), name == "number":
		return "a number"
	case strings.HasPrefix(name, "str") && !strings.HasPrefix(name, "struct"):
		return "a text"
	case strings.HasPrefix(name, "bool"):
		return "true or false"
	case strings.HasPrefix(name, "null"):
		return "null"
	}
	return "an object"
}

// DidYouMean is ", did you mean X?" where one of allowed is near what was
// found, and else nothing.
func DidYouMean(found string, allowed ...string) string {
	if near := Nearest(found, allowed...); near != "" {
		return fmt.Sprintf(", did you mean %s?", near)
	}
	return ""
}

// Among says that one of allowed is wanted, and which was meant, if one is near.
func Among(found string, allowed ...string) string {
	text := "want one of " + strings.Join(allowed, ", ")
	if near := Nearest(found, allowed...); near != "" {
		text += "; did you mean " + near + "?"
	}
	return text
}

// longest bounds what is compared, in letters: the time grows with its square.
const longest = 64

// Nearest returns the one of allowed that most likely was meant, or "": it
// differs in at most a third of its letters, two of a short word, or begins
// with what was found.
func Nearest(found string, allowed ...string) string {
	if found == "" || len(found) > 4*longest {
		return ""
	}
	plain := func(s string) []rune {
		r := []rune(strings.NewReplacer("-", "", "_", "", " ", "").Replace(strings.ToLower(s)))
		return r[:min(len(r), longest)]
	}
	best, least := "", 0
	for _, name := range allowed {
		a, b := plain(found), plain(name)
		d := distance(a, b)
		most := max(min(2, len(a)/2, len(b)/2), len(b)/3)
		if len(a) >= 3 && len(a) < len(b) && slices.Equal(a, b[:len(a)]) {
			d = min(d, 1)
		}
		if d <= most && (best == "" || d < least) {
			best, least = name, d
		}
	}
	return best
}

// distance is how many letters must be put in, taken out, changed or swapped
// with their neighbour to make b of a: Damerau, "A technique for computer
// detection and correction of spelling errors", Communications of the ACM 1964.
func distance(a, b []rune) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			change := rows[i-1][j-1]
			if a[i-1] != b[j-1] {
				change++
			}
			d := min(change, rows[i-1][j]+1, rows[i][j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d = min(d, rows[i-2][j-2]+1)
			}
			rows[i][j] = d
		}
	}
	return rows[len(a)][len(b)]
}
