package sluice

import (
	"errors"
	"fmt"
)

// Code classifies an error. The set is closed: every error that leaves the
// engine has one of these codes, and one table turns it into an HTTP status
// or an exit code.
type Code string

// The codes.
const (
	CodeInvalid      Code = "invalid"      // the caller sent something that can never be accepted
	CodeNotFound     Code = "not_found"    // no such thing, or not visible to the caller
	CodeConflict     Code = "conflict"     // the thing is in a state that forbids this
	CodeUnauthorized Code = "unauthorized" // no token, or an unknown one
	CodeForbidden    Code = "forbidden"    // a known caller without the right
	CodeLimited      Code = "limited"      // a bound on waiting jobs is reached; try later
	CodeTooLarge     Code = "too_large"    // a body, result or argument exceeds its bound
	CodeUnavailable  Code = "unavailable"  // the server cannot do it now; try again
	CodeInternal     Code = "internal"     // a fault of ours; details are in the server's log
)

// Error is a classified error. Message is written for the user and says what
// to do; Field names the offending input field, if one is to blame; Err is the
// cause and is for the log alone.
type Error struct {
	Code    Code
	Field   string
	Message string
	Err     error
}

// Error returns the user's message, preceded by the field's name if there is one.
func (e *Error) Error() string {
	if e.Field != "" {
		return e.Field + ": " + e.Message
	}
	return e.Message
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Errorf makes an [Error] with a formatted message.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Invalid makes an invalid-input [Error] that names the field.
func Invalid(field, format string, args ...any) *Error {
	return &Error{Code: CodeInvalid, Field: field, Message: fmt.Sprintf(format, args...)}
}

// CodeOf returns the code of err: that of the first [Error] in its chain,
// [CodeInternal] for any other error, and "" for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return CodeInternal
}
