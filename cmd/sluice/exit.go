package main

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"sluice"
	"sluice/client"
)

// The exit statuses that no code has.
const (
	exitJobFailed   = 1
	exitInterrupted = 130
)

var (
	errSignIn    = errors.New("whoever signs in was not let in")
	errUsage     = errors.New("a command line that cannot be read")
	errSkipped   = errors.New("something in an archive was skipped")
	errJobFailed = errors.New("a job did not succeed, or a promise was broken")
)

// exitOf is the one table from code to exit status.
var exitOf = map[sluice.Code]int{
	"":                      0,
	sluice.CodeInvalid:      2,
	sluice.CodeNotFound:     3,
	sluice.CodeUnauthorized: 4,
	sluice.CodeForbidden:    5,
	sluice.CodeConflict:     6,
	sluice.CodeLimited:      7,
	sluice.CodeTooLarge:     8,
	sluice.CodeUnavailable:  9,
	sluice.CodeInternal:     10,
}

func exitStatus(err error) int {
	switch {
	case errors.Is(err, errJobFailed), errors.Is(err, errSkipped):
		return exitJobFailed
	case errors.Is(err, errUsage):
		return exitOf[sluice.CodeInvalid]
	}
	status, ok := exitOf[sluice.CodeOf(err)]
	if !ok {
		return exitOf[sluice.CodeInternal]
	}
	return status
}

// complain says what went wrong, and what can be done about it.
func (a *app) complain(err error) {
	if errors.Is(err, errJobFailed) || errors.Is(err, errSkipped) {
		return // the command has said it
	}
	first, rest, more := strings.Cut(cleanLines(err.Error()), "\n")
	for i, line := range wrap("sluice: "+first, a.width-2) {
		if i > 0 {
			line = "  " + line
		}
		fmt.Fprintln(a.err, line)
	}
	if more { // of a tool, as it wrote it
		fmt.Fprintln(a.err, rest)
	}
	if advice := hint(err); advice != "" {
		for _, line := range wrap(advice, a.width-2) {
			fmt.Fprintf(a.err, "  %s\n", line)
		}
	}
}

// hint says what to do about an error whose message does not.
func hint(err error) string {
	if errors.Is(err, errSignIn) {
		return "" // the message says all
	}
	answered, onTheWay := (*client.StatusError)(nil), (*url.Error)(nil)
	switch code := sluice.CodeOf(err); {
	case code == sluice.CodeUnavailable && errors.As(err, &onTheWay):
		return `Is it running? Start one with "sluice server", or name another with --url or SLUICE_URL.`
	case code == sluice.CodeUnauthorized:
		return "Sign in with \"sluice login\", or give a token with --token or SLUICE_TOKEN; a server keeps its own in data/token where it runs."
	case code == sluice.CodeInternal && errors.As(err, &answered):
		return "This is the server's fault; its log says more."
	}
	return ""
}
