// Package attack looks for pictures beside a given one that a model answers
// wrongly.
//
// Pictures are values in [0, 1] in colour planes, (3, H, W) in one slice: what
// is left after the crop, before the model's own normalisation. ε is in the same
// unit. An attack is written as its paper has it, for one picture; Each runs
// many at a time and puts their questions to the model together, so that a
// picture that is fooled makes room for the next. No picture depends on its
// company: each has its own random numbers.
package attack
