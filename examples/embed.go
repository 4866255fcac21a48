// Package examples holds scripts to start from, in Windmill's file format.
package examples

import "embed"

// Files are the scripts and their settings, from the folder f on.
//
//go:embed all:f
var Files embed.FS
