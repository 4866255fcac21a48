package sqlite

import (
	"context"
	"io"
	"log/slog"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"sluice/internal/store"
	"sluice/internal/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

func open(t *testing.T, path string, opts Options) *Store {
	t.Helper()
	if opts.Logger == nil {
		opts.Logger = quiet
	}
	s, err := Open(context.Background(), path, opts)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T, o storetest.Options) store.Store {
		return open(t, filepath.Join(o.Dir, "sluice.db"), Options{Clock: o.Clock, Synchronous: "off"})
	})
}

func TestContractInMemory(t *testing.T) {
	storetest.RunVolatile(t, func(t *testing.T, o storetest.Options) store.Store {
		return open(t, ":memory:", Options{Clock: o.Clock})
	})
}
