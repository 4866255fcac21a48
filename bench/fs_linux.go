package main

import (
	"fmt"
	"syscall"
)

// fileSystem names the kind of file system that holds a folder.
func fileSystem(dir string) string {
	var s syscall.Statfs_t
	if syscall.Statfs(dir, &s) != nil {
		return "an unknown"
	}
	switch s.Type {
	case 0xef53:
		return "an ext4"
	case 0x58465342:
		return "an xfs"
	case 0x9123683e:
		return "a btrfs"
	case 0x01021994:
		return "a tmpfs (memory: commits cost nothing here)"
	case 0x794c7630:
		return "an overlay"
	}
	return fmt.Sprintf("a (type %#x)", s.Type)
}
