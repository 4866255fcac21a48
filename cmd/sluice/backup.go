package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"sluice"
	"sluice/internal/store/sqlite"
)

type backupCmd struct {
	File     string `arg:"" help:"File to make; one that is there already is never overwritten."`
	Database string `help:"Database to copy, as sqlite:PATH; else that of the data folder." env:"SLUICE_DATABASE" placeholder:"URL"`
	Data     string `help:"Data folder of the server." default:"./data" env:"SLUICE_DATA" placeholder:"DIR"`
	output
}

// Help says what else is needed.
func (backupCmd) Help() string {
	return `Its server may go on meanwhile: the copy is the database at one instant. To restore, put it into a data folder as sluice.db, with the files token and secrets.key of the old one, while no server runs there. Keep secrets.key apart from the copy: without it no secret opens, with it all do.

A database of PostgreSQL is backed up with pg_dump.`
}

// Run copies the database.
func (b *backupCmd) Run(ctx context.Context, a *app) error {
	if err := checkDatabase(b.Database); err != nil {
		return err
	}
	if onPostgres(b.Database) {
		return sluice.Invalid("--database", "is one of PostgreSQL, which has its own: pg_dump -Fc -d URL -f FILE")
	}
	from := filePath(b.Database, filepath.Join(b.Data, databaseFile))
	if err := sqlite.Backup(ctx, from, b.File); err != nil {
		return err
	}
	info, err := os.Stat(b.File)
	if err != nil {
		return fmt.Errorf("look at the backup: %w", err)
	}
	return a.done(b.JSON, fmt.Sprintf("Backed up %s: %s bytes in %s.", from, grouped(info.Size()), b.File), map[string]any{"file": b.File, "bytes": info.Size()})
}
