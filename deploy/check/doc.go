// Package check holds the tests of what is in deploy: that each file is what its
// reader takes it for. It is a module of its own, so that parsers of other people's
// formats never enter the program's go.mod.
package check
