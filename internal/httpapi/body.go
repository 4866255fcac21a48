package httpapi

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"sluice"
)

// closingBody ends the connection after the answer if the body could not be
// read: what still comes must not be taken for another request.
type closingBody struct {
	io.ReadCloser
	header http.Header
}

// Read reads the body.
func (b *closingBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		b.header.Set("Connection", "close")
	}
	return n, err
}

// checkLength refuses a body that says beforehand that it is too large.
func (a *API) checkLength(ctx huma.Context, next func(huma.Context)) {
	r, w := humago.Unwrap(ctx)
	if op := ctx.Operation(); op.RequestBody != nil && r.ContentLength >= op.MaxBodyBytes {
		w.Header().Set("Connection", "close")
		a.refuse(w, r, &httpError{status: http.StatusRequestEntityTooLarge, text: "the body is larger than this call accepts"})
		return
	}
	next(ctx)
}

// makeRoom lets a large body wait, unread, until there is room for it. One that
// does not say how large it is counts as the largest that its call accepts.
func (a *API) makeRoom(ctx huma.Context, next func(huma.Context)) {
	r, w := humago.Unwrap(ctx)
	op := ctx.Operation()
	n := r.ContentLength
	if n < 0 {
		n = op.MaxBodyBytes
	}
	if op.RequestBody == nil || n <= smallBody {
		next(ctx)
		return
	}
	n = min(n, a.o.bodyBudget)
	wait, cancel := context.WithTimeout(ctx.Context(), a.o.bodyTimeout)
	defer cancel()
	if a.bodies.Acquire(wait, n) != nil {
		w.Header().Set("Connection", "close")
		w.Header().Set("Retry-After", "1")
		a.refuse(w, r, sluice.Errorf(sluice.CodeUnavailable, "the server works on too many large bodies at the moment; try again"))
		return
	}
	release := sync.OnceFunc(func() { a.bodies.Release(n) })
	defer release()
	next(huma.WithValue(ctx, roomKey, release))
}

// giveRoom gives back the room of a call's body before the call waits for
// something else.
func giveRoom(ctx context.Context) {
	if release, ok := ctx.Value(roomKey).(func()); ok {
		release()
	}
}
