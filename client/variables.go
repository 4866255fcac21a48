package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"
)

// Variable is a text that scripts read by its path.
type Variable struct {
	Path        string  `json:"path"`
	Value       *string `json:"value"` // nil: it is a secret
	IsSecret    bool    `json:"is_secret"`
	Description string  `json:"description,omitempty"`
}

// VariableChange says what becomes of a variable; nil fields stay as they are.
type VariableChange struct {
	Path        *string `json:"path,omitempty"`
	Value       *string `json:"value,omitempty"`
	IsSecret    *bool   `json:"is_secret,omitempty"`
	Description *string `json:"description,omitempty"`
}

// Variable returns the variable at a path, a secret without its value.
func (c *Client) Variable(ctx context.Context, path string) (*Variable, error) {
	return fetch[*Variable](ctx, c, get(c.in("variables/get/"+escapePath(path)), nil))
}

// VariableValue returns the value of a variable, that of a secret, too; the
// server records who saw it.
func (c *Client) VariableValue(ctx context.Context, path string) (string, error) {
	v, err := fetch[*string](ctx, c, get(c.in("variables/get_value/"+escapePath(path)), nil)) // a JSON string
	if err != nil || v == nil {
		return "", err
	}
	return *v, nil
}

// SealedVariable returns a secret as it is encrypted, in the form in which the
// archive of a workspace holds it; what is no secret comes as it is.
func (c *Client) SealedVariable(ctx context.Context, path string) (string, error) {
	v, err := fetch[*Variable](ctx, c, get(c.in("variables/get/"+escapePath(path)), url.Values{"include_encrypted": {"true"}, "decrypt_secret": {"false"}}))
	if err != nil || v.Value == nil {
		return "", err
	}
	return *v.Value, nil
}

// Variables lists the workspace's variables by path; page counts from 1.
func (c *Client) Variables(ctx context.Context, page, perPage int) ([]Variable, error) {
	return fetch[[]Variable](ctx, c, get(c.in("variables/list"), paging(page, perPage)))
}

// CreateVariable makes a variable; Path and Value are needed. Code conflict:
// there is one at the path.
func (c *Client) CreateVariable(ctx context.Context, v VariableChange) error {
	return c.do(ctx, post(c.in("variables/create"), v))
}

// UpdateVariable changes the variable at a path.
func (c *Client) UpdateVariable(ctx context.Context, path string, v VariableChange) error {
	return c.do(ctx, post(c.in("variables/update/"+escapePath(path)), v))
}

// DeleteVariable deletes a variable.
func (c *Client) DeleteVariable(ctx context.Context, path string) error {
	return c.do(ctx, call{method: http.MethodDelete, path: c.in("variables/delete/" + escapePath(path))})
}

// Resource is a JSON value that scripts read by its path.
type Resource struct {
	Path        string          `json:"path"`
	Type        string          `json:"resource_type"`
	Value       json.RawMessage `json:"value,omitempty"` // null in lists
	Description string          `json:"description,omitempty"`
	CreatedBy   string          `json:"created_by,omitempty"`
	EditedAt    time.Time       `json:"edited_at"`
}

// ResourceChange says what becomes of a resource; nil fields stay as they are.
type ResourceChange struct {
	Path        *string         `json:"path,omitempty"`
	Type        *string         `json:"resource_type,omitempty"`
	Value       json.RawMessage `json:"value,omitempty"`
	Description *string         `json:"description,omitempty"`
}

// Resource returns the resource at a path, as it was saved.
func (c *Client) Resource(ctx context.Context, path string) (*Resource, error) {
	return fetch[*Resource](ctx, c, get(c.in("resources/get/"+escapePath(path)), nil))
}

// ResolvedResource returns the value of a resource with the variables and
// resources that it refers to.
func (c *Client) ResolvedResource(ctx context.Context, path string) (json.RawMessage, error) {
	return fetch[json.RawMessage](ctx, c, get(c.in("resources/get_value_interpolated/"+escapePath(path)), nil))
}

// Resources lists the workspace's resources by path, without their values;
// kind, unless it is "", is their type. page counts from 1.
func (c *Client) Resources(ctx context.Context, kind string, page, perPage int) ([]Resource, error) {
	q := paging(page, perPage)
	if kind != "" {
		q.Set("resource_type", kind)
	}
	return fetch[[]Resource](ctx, c, get(c.in("resources/list"), q))
}

// CreateResource makes a resource; Path and Type are needed. Code conflict:
// there is one at the path.
func (c *Client) CreateResource(ctx context.Context, r ResourceChange) error {
	return c.do(ctx, post(c.in("resources/create"), r))
}

// UpdateResource changes the resource at a path.
func (c *Client) UpdateResource(ctx context.Context, path string, r ResourceChange) error {
	return c.do(ctx, post(c.in("resources/update/"+escapePath(path)), r))
}

// DeleteResource deletes a resource.
func (c *Client) DeleteResource(ctx context.Context, path string) error {
	return c.do(ctx, call{method: http.MethodDelete, path: c.in("resources/delete/" + escapePath(path))})
}

// Rotation says what a change of keys has done.
type Rotation struct {
	Workspaces int `json:"workspaces"` // whose key was changed, or wrapped anew
	Secrets    int `json:"secrets"`    // that were encrypted anew
}

// RotateKeys gives all workspaces new keys and encrypts their secrets under
// them; with master it only wraps the keys of workspaces by the server's newest
// master key. For administrators of the instance. It may be repeated whenever it failed.
func (c *Client) RotateKeys(ctx context.Context, master bool) (Rotation, error) {
	return fetch[Rotation](ctx, c, post("settings/rotate_keys", map[string]bool{"master": master}))
}
