package client

import (
	"context"
	"errors"
	"net/http"
	"reflect"
	"sync/atomic"
	"testing"
	"time"

	"sluice"
)

func TestPeopleOnTheWire(t *testing.T) {
	yes := true
	until := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	tests := map[string]struct {
		call   func(context.Context, *Client) error
		answer string
		want   seen
	}{
		"sign in": {
			func(ctx context.Context, c *Client) error { _, err := c.SignIn(ctx, "a@b.c", "p"); return err }, "token\n",
			seen{Method: "POST", Path: "/api/auth/login", Body: `{"email":"a@b.c","password":"p"}`},
		},
		"sign out": {
			func(ctx context.Context, c *Client) error { return c.SignOut(ctx) }, "",
			seen{Method: "POST", Path: "/api/auth/logout"},
		},
		"password": {
			func(ctx context.Context, c *Client) error { return c.SetPassword(ctx, "p") }, "",
			seen{Method: "POST", Path: "/api/users/setpassword", Body: `{"password":"p"}`},
		},
		"create user": {
			func(ctx context.Context, c *Client) error {
				_, err := c.CreateUser(ctx, NewUser{Email: "a@b.c", SuperAdmin: true})
				return err
			}, "a",
			seen{Method: "POST", Path: "/api/users/create", Body: `{"email":"a@b.c","super_admin":true}`},
		},
		"users": {
			func(ctx context.Context, c *Client) error { _, err := c.Users(ctx, 2, 10); return err }, "[]",
			seen{Method: "GET", Path: "/api/users/list_as_super_admin", Query: "page=2&per_page=10"},
		},
		"update user": {
			func(ctx context.Context, c *Client) error {
				return c.UpdateUser(ctx, "a/b@c", UserChange{Disabled: &yes})
			}, "",
			seen{Method: "POST", Path: "/api/users/update/a%2Fb%40c", Body: `{"disabled":true}`},
		},
		"delete user": {
			func(ctx context.Context, c *Client) error { return c.DeleteUser(ctx, "a@b") }, "",
			seen{Method: "DELETE", Path: "/api/users/delete/a%40b"},
		},
		"create token": {
			func(ctx context.Context, c *Client) error {
				_, err := c.CreateToken(ctx, NewToken{Label: "ci", Expiration: &until, Scopes: []string{"jobs:read"}, Workspace: "demo"})
				return err
			}, "t",
			seen{
				Method: "POST", Path: "/api/users/tokens/create",
				Body: `{"label":"ci","expiration":"2030-01-01T00:00:00Z","scopes":["jobs:read"],"workspace_id":"demo"}`,
			},
		},
		"delete token": {
			func(ctx context.Context, c *Client) error { return c.DeleteToken(ctx, "abc") }, "",
			seen{Method: "DELETE", Path: "/api/users/tokens/delete/abc"},
		},
		"add member": {
			func(ctx context.Context, c *Client) error { return c.AddMember(ctx, "a@b", sluice.RoleOperator) }, "",
			seen{Method: "POST", Path: "/api/w/demo/workspaces/add_user", Body: `{"email":"a@b","is_admin":false,"operator":true}`},
		},
		"role": {
			func(ctx context.Context, c *Client) error { return c.SetRole(ctx, "a", sluice.RoleAdmin) }, "",
			seen{Method: "POST", Path: "/api/w/demo/users/update/a", Body: `{"is_admin":true,"operator":false}`},
		},
		"remove member": {
			func(ctx context.Context, c *Client) error { return c.RemoveMember(ctx, "a") }, "",
			seen{Method: "DELETE", Path: "/api/w/demo/users/delete/a"},
		},
		"audit": {
			func(ctx context.Context, c *Client) error {
				_, err := c.Audit(ctx, AuditFilter{Username: "a", Operation: "scripts.create", PerPage: 5})
				return err
			}, "[]",
			seen{Method: "GET", Path: "/api/w/demo/audit/list", Query: "operation=scripts.create&per_page=5&username=a"},
		},
		"history": {
			func(ctx context.Context, c *Client) error { _, err := c.ScriptHistory(ctx, "f/a b"); return err }, "[]",
			seen{Method: "GET", Path: "/api/w/demo/scripts/history/p/f/a%20b"},
		},
		"diff": {
			func(ctx context.Context, c *Client) error { _, err := c.DiffScripts(ctx, "1", "2"); return err }, "{}",
			seen{Method: "GET", Path: "/api/w/demo/scripts/diff/1/2"},
		},
		"delete script": {
			func(ctx context.Context, c *Client) error { return c.DeleteScript(ctx, "f/a") }, "",
			seen{Method: "POST", Path: "/api/w/demo/scripts/delete/p/f/a"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c, all := server(t, says("text/plain", tt.answer))
			if err := tt.call(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			tt.want.Auth, tt.want.Agent = "Bearer secret", "sluice-client"
			if got := all(); len(got) != 1 || !reflect.DeepEqual(got[0], tt.want) {
				t.Errorf("got %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

// Which refusals are worth another attempt, and how many there are.
func TestWhatIsRepeated(t *testing.T) {
	read := func(ctx context.Context, c *Client) error { _, err := c.WhoAmI(ctx); return err }
	push := func(ctx context.Context, c *Client) error { _, err := c.Run(ctx, RunRequest{Path: "f/a"}); return err }
	save := func(ctx context.Context, c *Client) error { _, err := c.SaveScript(ctx, []byte(`{}`)); return err }
	tests := []struct {
		name   string
		status int
		after  string
		call   func(context.Context, *Client) error
		want   int64
	}{
		{"a read of a server that is away", 503, "", read, attempts},
		{"a read through a proxy", 502, "", read, attempts},
		{"a push with its id", 504, "", push, attempts},
		{"too many requests, and no time to come again", 429, "0", read, 1},
		{"a full group: nobody knows when to come again", 429, "", push, 1},
		{"longer than anybody waits", 429, "3600", read, 1},
		{"away for longer than anybody waits", 503, "3600", read, 1},
		{"a save", 503, "", save, 1},
		{"a mistake", 400, "", read, 1},
		{"a fault", 500, "", read, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var n atomic.Int64
			c, _ := server(t, func(w http.ResponseWriter, _ *http.Request) {
				n.Add(1)
				if tt.after != "" {
					w.Header().Set("Retry-After", tt.after)
				}
				http.Error(w, "no", tt.status)
			})
			err := tt.call(t.Context(), c)
			var answered *StatusError
			if !errors.As(err, &answered) || answered.Status != tt.status || n.Load() != tt.want {
				t.Errorf("%d attempts, want %d; error %v", n.Load(), tt.want, err)
			}
		})
	}
}

// The server says when to come again; the client is not there earlier.
func TestRetryAfterIsKept(t *testing.T) {
	var first, second time.Time
	c, _ := server(t, func(w http.ResponseWriter, _ *http.Request) {
		if first.IsZero() {
			first = time.Now()
			w.Header().Set("Retry-After", "1")
			http.Error(w, "too many requests", http.StatusTooManyRequests)
			return
		}
		second = time.Now()
		says("application/json", `{"email":"a@b.c"}`)(w, nil)
	})
	u, err := c.WhoAmI(t.Context())
	if err != nil || u.Email != "a@b.c" {
		t.Fatal(u, err)
	}
	if waited := second.Sub(first); waited < time.Second {
		t.Errorf("asked again after %s", waited)
	}
}
