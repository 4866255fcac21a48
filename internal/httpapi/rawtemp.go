package httpapi

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"sluice"
	"sluice/internal/store"
)

const maxTempScripts = 1000

type tempDiffIn struct {
	WorkspaceRef
	Body struct {
		Scripts map[string]string `json:"scripts" required:"true" doc:"SHA-256 of the local content, in hex, by path"`
	} `required:"true"`
}

// diffTemp answers which of the local scripts differ from the saved ones or
// are not saved.
func (a *API) diffTemp(ctx context.Context, in *tempDiffIn) ([]string, error) {
	if len(in.Body.Scripts) > maxTempScripts {
		return nil, sluice.Invalid("scripts", "must be at most %d", maxTempScripts)
	}
	out := []string{}
	for _, path := range slices.Sorted(maps.Keys(in.Body.Scripts)) {
		s, err := a.e.Script(ctx, in.Workspace, path)
		if err == nil {
			err = a.mayRead(ctx, in.Workspace, store.KindScript, path)
		}
		switch {
		case sluice.CodeOf(err) == sluice.CodeNotFound || err == nil && (s.Archived || s.Deleted):
			out = append(out, path)
			continue
		case err != nil:
			return nil, err
		}
		sum := sha256.Sum256([]byte(s.Content))
		if hex.EncodeToString(sum[:]) != in.Body.Scripts[path] {
			out = append(out, path)
		}
	}
	return out, nil
}

type tempStoreIn struct {
	WorkspaceRef
	Body string `required:"true" doc:"The content of a script, as a JSON string"`
}

// Resolve says what becomes of it.
func (in *tempStoreIn) Resolve(hc huma.Context) []error {
	warn(hc, "the content is not kept: imports between local scripts have no effect here yet")
	return nil
}

// storeTemp answers with the name under which the content would be known.
func (a *API) storeTemp(_ context.Context, in *tempStoreIn) (string, error) {
	sum := sha256.Sum256([]byte(in.Body))
	return hex.EncodeToString(sum[:]), nil
}
