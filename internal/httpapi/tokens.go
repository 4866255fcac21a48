package httpapi

import (
	"context"
	"time"

	"sluice"
	"sluice/internal/engine"
	"sluice/internal/store"
)

type tokenJSON struct {
	Label      string     `json:"label,omitempty"`
	Prefix     string     `json:"token_prefix"`
	CreatedAt  time.Time  `json:"created_at"`
	LastUsedAt *time.Time `json:"last_used_at" nullable:"true" doc:"Written now and then"`
	Expiration *time.Time `json:"expiration,omitempty"`
	Scopes     []string   `json:"scopes,omitempty"`
	Workspace  string     `json:"workspace_id,omitempty"`
	Email      string     `json:"email"`
	Session    bool       `json:"session,omitempty" doc:"Ours: made by signing in"`
}

func tokenForm(t *store.Token) tokenJSON {
	return tokenJSON{
		Label: t.Label, Prefix: t.Prefix, CreatedAt: t.CreatedAt.UTC(), LastUsedAt: instant(t.UsedAt), Expiration: instant(t.ExpiresAt),
		Scopes: t.Scopes, Workspace: t.Workspace, Email: t.Email, Session: t.Session,
	}
}

// addTokens registers tokens and the password of whoever asks.
func (a *API) addTokens() {
	addJSON(a, "GET /api/users/tokens/list", "listTokens", "Tokens of the caller, newest first; not the tokens themselves", a.listTokens)
	addText(a, "POST /api/users/tokens/create", "createToken", "Make a token; answers with it, and it cannot be read again", a.createToken, created)
	addText(a, "DELETE /api/users/tokens/delete/{prefix}", "deleteToken", "Delete the token of the caller that begins with a prefix",
		func(ctx context.Context, in *struct {
			Prefix string `path:"prefix"`
		},
		) (string, error) {
			return "deleted token " + in.Prefix, a.e.DeleteToken(ctx, callerOf(ctx).Email, in.Prefix)
		})
	addText(a, "POST /api/users/setpassword", "setPassword", "Change the caller's password; all its sessions end", a.setPassword)
}

type listTokensIn struct {
	Paging
	ExcludeEphemeral bool `query:"exclude_ephemeral" doc:"Leave sessions out"`
}

func (a *API) listTokens(ctx context.Context, in *listTokensIn) ([]tokenJSON, error) {
	list, err := a.e.Tokens(ctx, callerOf(ctx).Email)
	out := []tokenJSON{}
	for _, t := range list {
		if !in.ExcludeEphemeral || !t.Session {
			out = append(out, tokenForm(t))
		}
	}
	offset, most := in.window(1000, 1000)
	offset = min(offset, len(out))
	return out[offset:min(offset+most, len(out))], err
}

type createTokenIn struct {
	Body struct {
		Label      *string    `json:"label,omitempty" nullable:"true" maxLength:"100" doc:"For people"`
		Expiration *time.Time `json:"expiration,omitempty" nullable:"true" doc:"Never if left out"`
		Scopes     []string   `json:"scopes,omitempty" nullable:"true" maxItems:"100" doc:"Such as jobs:read or jobs:run:scripts:f/a/b; all rights of the caller if left out"`
		Workspace  *string    `json:"workspace_id,omitempty" nullable:"true" doc:"Bind it to a workspace"`
	} `required:"true"`
}

func (a *API) createToken(ctx context.Context, in *createTokenIn) (string, error) {
	n := engine.NewToken{Email: callerOf(ctx).Email, Scopes: in.Body.Scopes}
	for _, text := range n.Scopes {
		if _, err := readScope(text); err != nil {
			return "", err
		}
	}
	if n.Scopes != nil && len(n.Scopes) == 0 {
		return "", sluice.Invalid("scopes", "must have an entry; leave it out for all rights")
	}
	if in.Body.Label != nil {
		n.Label = *in.Body.Label
	}
	if in.Body.Workspace != nil {
		n.Workspace = *in.Body.Workspace
	}
	if in.Body.Expiration != nil {
		n.ExpiresAt = in.Body.Expiration.UTC()
	}
	named(ctx, n.Label)
	return a.e.CreateToken(ctx, n)
}

type passwordIn struct {
	Body struct {
		Password string `json:"password" required:"true" minLength:"8" maxLength:"1024"`
	} `required:"true"`
}

func (a *API) setPassword(ctx context.Context, in *passwordIn) (string, error) {
	return "password updated", a.e.UpdateUser(ctx, callerOf(ctx).Email, engine.UserChange{Password: &in.Body.Password})
}
