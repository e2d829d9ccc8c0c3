// Package deploy has the tests of the manifests, rules and units beside it.
package deploy
