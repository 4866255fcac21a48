package worker

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// childrenOf lists the children of a process, zombies included.
func childrenOf(t testing.TB, pid int) []string {
	t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, f := range files {
		text, _ := os.ReadFile(f)
		all = append(all, strings.Fields(string(text))...)
	}
	return all
}

// running counts the processes one of whose arguments is arg.
func running(t testing.TB, arg string) int {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, f := range files {
		text, _ := os.ReadFile(f)
		for _, a := range strings.Split(string(text), "\x00") {
			if a == arg {
				n++
			}
		}
	}
	return n
}
