// Package report writes the report of a run: as JSON and CSV for programs, as
// Markdown for a change request, and as one page of HTML for people. The same
// report is the same bytes.
package report
