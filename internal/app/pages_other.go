//go:build !linux

package app

// releasePages does nothing: only Linux counts the pages of the program file as memory of the process and takes them back on request.
func releasePages() error { return nil }
