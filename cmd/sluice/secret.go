package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"sluice"
)

const (
	passwordVariable = "SLUICE_PASSWORD"
	maxSecret        = 4096
)

// password returns what SLUICE_PASSWORD says, else what is typed, else the
// first line of standard input. A new one is asked for twice.
func (a *app) password(ctx context.Context, prompt string, isNew bool) (string, error) {
	if said := a.env(passwordVariable); said != "" {
		return said, nil
	}
	f, ok := a.in.(*os.File)
	if !ok || !isTerminal(f) {
		return a.line("password")
	}
	first, err := a.ask(ctx, f, prompt)
	if err != nil || !isNew {
		return first, err
	}
	again, err := a.ask(ctx, f, "Again: ")
	if err == nil && again != first {
		err = sluice.Invalid("password", "was not typed the same way twice")
	}
	return first, err
}

// line reads the first line of standard input, whose name is for messages.
func (a *app) line(name string) (string, error) {
	text, err := bufio.NewReader(io.LimitReader(a.in, maxSecret+1)).ReadString('\n')
	text = strings.TrimRight(text, "\r\n")
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		return "", sluice.Invalid(name, "standard input cannot be read: %v", err)
	case text == "":
		return "", sluice.Invalid(name, "is needed: on a terminal, or as the first line of standard input")
	case len(text) > maxSecret:
		return "", sluice.Invalid(name, "must not be longer than %d bytes", maxSecret)
	}
	return text, nil
}

// ask reads a line from a terminal that does not show it. The terminal is as
// it was afterwards, an interrupt included.
func (a *app) ask(ctx context.Context, f *os.File, prompt string) (string, error) {
	fd := int(f.Fd())
	before, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return "", fmt.Errorf("ask the terminal for its settings: %w", err)
	}
	quiet := *before
	quiet.Lflag &^= unix.ECHO
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, &quiet); err != nil {
		return "", fmt.Errorf("keep the terminal from showing what is typed: %w", err)
	}
	defer func() {
		unix.IoctlSetTermios(fd, unix.TCSETS, before) //nolint:errcheck // there is no better way to put it back
		fmt.Fprintln(a.err)
	}()
	fmt.Fprint(a.err, prompt)
	type answer struct {
		text string
		err  error
	}
	typed := make(chan answer, 1)
	go func() { // ends with the line, or with the program
		text, err := a.line("password")
		typed <- answer{text, err}
	}()
	select {
	case got := <-typed:
		return got.text, got.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}
