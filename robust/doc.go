// Package robust measures what a photo must suffer before a model is wrong, and
// before it looks elsewhere.
//
// A run takes photos one after the other. Of each it makes the cells that the
// suites name (the clean photo, every corruption at every severity, turned, with
// patches missing, shuffled), asks a Target about them, and keeps a row of
// numbers for each cell in a journal: a run that was killed goes on where it
// stopped, and the report is the same bytes. Disturbing runs beside the target's
// work, and nothing grows with the number of photos but the journal.
//
// A model is known by a small interface, Target: one in the same process, or a
// server (package robust/remote). Disturbances of pixels are in robust/corrupt,
// measures in robust/measure, pages in robust/report.
package robust
