package client

import (
	"context"
	"encoding/json"
)

// FolderFields returns a folder with every field that the server shows; name is
// without f/.
func (c *Client) FolderFields(ctx context.Context, name string) (map[string]json.RawMessage, error) {
	return fetch[map[string]json.RawMessage](ctx, c, get(c.in("folders/get/"+escapeSegment(name)), nil))
}

// CreateFolder makes a folder; code conflict if there is one of that name. body
// is the object with name and all else.
func (c *Client) CreateFolder(ctx context.Context, body json.RawMessage) error {
	return c.do(ctx, post(c.in("folders/create"), body))
}

// UpdateFolder changes the fields of a folder that body has.
func (c *Client) UpdateFolder(ctx context.Context, name string, body json.RawMessage) error {
	return c.do(ctx, post(c.in("folders/update/"+escapeSegment(name)), body))
}
