package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"strings"

	"sluice"
	"sluice/internal/store"
	"sluice/internal/store/postgres"
	"sluice/internal/store/sqlite"
)

const (
	sqlitePrefix = "sqlite:"
	databaseFile = "sluice.db"
)

// checkDatabase refuses what names no database.
func checkDatabase(name string) error {
	if name == "" || onPostgres(name) || strings.HasPrefix(name, sqlitePrefix) && name != sqlitePrefix {
		return nil
	}
	return sluice.Invalid("--database", "must be %sPATH or postgres://USER:PASSWORD@HOST/NAME", sqlitePrefix)
}

// onPostgres reports whether a database is one of PostgreSQL.
func onPostgres(name string) bool {
	return strings.HasPrefix(name, "postgres://") || strings.HasPrefix(name, "postgresql://")
}

// openDatabase opens a database by its URL, or the file at path if that is "".
func openDatabase(ctx context.Context, name, path, durability string, log *slog.Logger) (store.Store, error) {
	if onPostgres(name) {
		s, err := postgres.Open(ctx, name, postgres.Options{Logger: log, Relaxed: durability != "full"})
		if err != nil {
			return nil, err // not as a store that is nil inside
		}
		return s, nil
	}
	s, err := sqlite.Open(ctx, filePath(name, path), sqlite.Options{Logger: log, Synchronous: durability})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// filePath is the file of a SQLite database.
func filePath(name, path string) string {
	if name == "" {
		return path
	}
	return strings.TrimPrefix(name, sqlitePrefix)
}

// inUse says what to do about a file that a server has open.
func inUse(path string, err error) error {
	return &sluice.Error{Code: sluice.CodeUnavailable, Err: err, Message: fmt.Sprintf(
		"the database %s is in use; stop its server, or judge a copy: sluice backup --database sqlite:%[1]s copy.db; sluice check-history --database sqlite:copy.db", path)}
}

// shown is a database as people may see it: without its password.
func shown(database, path string) string {
	if !onPostgres(database) {
		return filePath(database, path)
	}
	u, err := url.Parse(database)
	if err != nil {
		return "PostgreSQL"
	}
	return u.Redacted()
}
