package pgjob

import (
	"testing"

	"github.com/jackc/pgx/v5"
)

// Without TLS a server is as little there as with it; that is said once.
func TestNoServerIsSaidOnce(t *testing.T) {
	_, err := pgx.Connect(t.Context(), "postgres://u:hush@127.0.0.1:1/x?sslmode=prefer")
	if err == nil {
		t.Fatal("there is a server on port 1")
	}
	want := "The database cannot be reached: 127.0.0.1:1 (127.0.0.1): dial error: dial tcp 127.0.0.1:1: connect: connection refused"
	if got := describe(err, "SELECT 1"); got.Message != want {
		t.Errorf("%q", got.Message)
	}
}
