package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/validation"

	"sluice"
	"sluice/limit"
)

// statusOf is the table from an error's code to a status.
var statusOf = map[sluice.Code]int{
	sluice.CodeInvalid:      http.StatusBadRequest,
	sluice.CodeUnauthorized: http.StatusUnauthorized,
	sluice.CodeForbidden:    http.StatusForbidden,
	sluice.CodeNotFound:     http.StatusNotFound,
	sluice.CodeConflict:     http.StatusConflict,
	sluice.CodeTooLarge:     http.StatusRequestEntityTooLarge,
	sluice.CodeLimited:      http.StatusTooManyRequests,
	sluice.CodeInternal:     http.StatusInternalServerError,
	sluice.CodeUnavailable:  http.StatusServiceUnavailable,
}

// httpError is an error as it is answered: a status and a sentence.
type httpError struct {
	status int
	text   string
}

// Error returns the sentence.
func (e *httpError) Error() string { return e.text }

// GetStatus returns the status.
func (e *httpError) GetStatus() int { return e.status }

// ContentType says that errors are plain text whatever the client accepts.
func (e *httpError) ContentType(string) string { return contentText }

// Schema describes the error in the OpenAPI document.
func (e *httpError) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Description: "A short sentence that says what is wrong; it names the field, if one is to blame."}
}

// huma's errors and the wording of its checks are package variables.
func init() {
	huma.NewError = validationError
	huma.DefaultArrayNullable = false
	validation.MsgExpectedBoolean = "must be true or false"
	validation.MsgExpectedNumber = "must be a number"
	validation.MsgExpectedInteger = "must be a whole number"
	validation.MsgExpectedString = "must be a string"
	validation.MsgExpectedArray = "must be a list"
	validation.MsgExpectedObject = "must be a JSON object"
	validation.MsgExpectedMinimumNumber = "must be at least %.15g"
	validation.MsgExpectedMaximumNumber = "must be at most %.15g"
	validation.MsgExpectedMinLength = "must be at least %d characters long"
	validation.MsgExpectedMaxLength = "must be at most %d characters long"
	validation.MsgExpectedMinItems = "must have at least %d entries"
	validation.MsgExpectedMaxItems = "must have at most %d entries"
	validation.MsgExpectedOneOf = "must be one of %s"
	validation.MsgExpectedBePattern = "must be %s"
	validation.MsgExpectedRequiredProperty = "%s is required"
	validation.MsgExpectedRFC3339DateTime = "must be a time such as 2026-01-31T12:00:00Z"
	validation.MsgExpectedRFC4122UUID = "must be a UUID"
}

// validationError makes huma's errors ours. They are a client's mistakes, but
// for those that it reports with a status of its own.
func validationError(status int, msg string, errs ...error) huma.StatusError {
	switch status {
	case http.StatusUnprocessableEntity, http.StatusUnsupportedMediaType:
		status = http.StatusBadRequest
	case http.StatusRequestEntityTooLarge:
		return &httpError{status: status, text: "the body is larger than this call accepts"}
	case http.StatusRequestTimeout:
		return &httpError{status: status, text: "the body did not arrive in time"}
	case http.StatusInternalServerError:
		// The only one that passes here is a body that broke off.
		return &httpError{status: http.StatusBadRequest, text: "the body could not be read to its end"}
	}
	for _, err := range errs {
		if err != nil {
			return &httpError{status: status, text: validationText(err)}
		}
	}
	return &httpError{status: status, text: msg}
}

// validationText says which field is wrong and how. It never repeats the
// value: that may be a secret.
func validationText(err error) string {
	var d huma.ErrorDetailer
	if !errors.As(err, &d) {
		return err.Error()
	}
	detail := d.ErrorDetail()
	where := detail.Location
	for _, prefix := range []string{"body.", "query.", "path.", "header."} {
		where = strings.TrimPrefix(where, prefix)
	}
	message := detail.Message
	switch {
	case strings.HasPrefix(message, "must be a UUID"):
		message = "must be a UUID"
	case strings.HasPrefix(message, "invalid date/time for format"):
		message = "must be an instant such as 2026-01-31T12:00:00Z"
	case where == "body" && !strings.HasPrefix(message, "must be") && !strings.HasSuffix(message, "is required"):
		return "the body is not the JSON that this call expects: " + message
	case strings.HasSuffix(message, " is required") && detail.Location != "body":
		return where + "." + message
	case where == "body" && strings.HasSuffix(message, " is required"):
		return message
	}
	if where == "" {
		return message
	}
	return where + ": " + message
}

// present turns any error of a handler into what is answered. Faults of ours
// are logged here, and here only.
func (a *API) present(ctx context.Context, err error) *httpError {
	var (
		done *httpError
		se   *sluice.Error
		fe   *limit.FieldError
	)
	switch {
	case errors.As(err, &done):
		return done
	case errors.As(err, &fe):
		return &httpError{status: http.StatusBadRequest, text: fe.Error()}
	case errors.As(err, &se) && statusOf[se.Code] != 0 && se.Code != sluice.CodeInternal:
		return &httpError{status: statusOf[se.Code], text: se.Error()}
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return &httpError{status: http.StatusServiceUnavailable, text: "the server could not answer in time; try again"}
	}
	id := requestID(ctx)
	a.log.Error("a request failed", "request", id, "error", err)
	return &httpError{status: http.StatusInternalServerError, text: internalSentence(id)}
}

func internalSentence(id string) string {
	return fmt.Sprintf("something went wrong inside the server; its log says more under request %s", id)
}

func notFound(format string, args ...any) error {
	return sluice.Errorf(sluice.CodeNotFound, format, args...)
}
