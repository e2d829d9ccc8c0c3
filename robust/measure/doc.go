// Package measure says how good answers are: right or wrong, calibrated or not,
// moved by a disturbance or not, and how sure one can be of that.
//
// Answers are scores over classes that add up to one, as float64; K is the
// number of classes and N that of photos. Every function is a plain one of its
// arguments and keeps nothing.
package measure
