package postgres

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"testing"

	"sluice/internal/pgtest"
	"sluice/internal/store"
	"sluice/internal/store/storetest"
)

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

func open(t testing.TB, dsn string, opts Options) *Store {
	t.Helper()
	if opts.Logger == nil {
		opts.Logger = quiet
	}
	s, err := Open(context.Background(), dsn, opts)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// databases keeps the database of a case's folder, so that it can be opened again.
type databases struct {
	mu  sync.Mutex
	dsn map[string]string
}

func (d *databases) of(t testing.TB, dir string) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dsn == nil {
		d.dsn = map[string]string{}
	}
	if d.dsn[dir] == "" {
		d.dsn[dir] = pgtest.Database(t)
	}
	return d.dsn[dir]
}

func TestContract(t *testing.T) {
	pgtest.Start(t) // one server for all cases
	var all databases
	storetest.Run(t, func(t *testing.T, o storetest.Options) store.Store {
		return open(t, all.of(t, o.Dir), Options{Clock: o.Clock})
	})
}
