package postgres

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"sluice"
)

//go:embed migrations/*.sql
var migrations embed.FS

// migrationLock keeps servers that start at the same time from migrating at the
// same time. It lies in a transaction, so that a pooler may be in between.
const migrationLock = 7_305_809_155_113_811

// oldest is the oldest version of PostgreSQL that is supported.
const oldest = 150000

// migrate brings the schema up to date, one server at a time.
func (s *Store) migrate(ctx context.Context, config *pgx.ConnConfig) error {
	config.DefaultQueryExecMode = pgx.QueryExecModeExec
	db := stdlib.OpenDB(*config)
	defer db.Close()
	guard, err := db.BeginTx(ctx, nil)
	if err != nil {
		return s.unreachable(err)
	}
	defer func() { _ = guard.Rollback() }()
	var version int
	var encoding string
	row := guard.QueryRowContext(ctx, `SELECT current_setting('server_version_num')::int, current_setting('server_encoding')`)
	if err := row.Scan(&version, &encoding); err != nil {
		return s.unreachable(err)
	}
	switch {
	case version < oldest:
		return sluice.Invalid("--database", "PostgreSQL must be of version 15 or newer, not %d.%d", version/10000, version%10000)
	case encoding != "UTF8":
		return sluice.Invalid("--database", "the database's encoding must be UTF8, not %s", encoding)
	}
	if _, err := guard.ExecContext(ctx, `SELECT pg_advisory_xact_lock($1)`, int64(migrationLock)); err != nil {
		return s.unreachable(err)
	}
	if err := up(ctx, db); err != nil {
		return fmt.Errorf("migrate the database: %w", err)
	}
	if err := ascend(ctx, db); err != nil {
		return fmt.Errorf("look at the newest change: %w", err)
	}
	return guard.Commit()
}

func up(ctx context.Context, db *sql.DB) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(goose.DialectPostgres, db, files, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return err
	}
	_, err = p.Up(ctx)
	return err
}

// ascend sees to it that the numbers of changes go on ascending in a database
// that was restored in another cluster, whose transactions have lower numbers.
// It also clears away what writers recorded that are long gone; the newest stays.
func ascend(ctx context.Context, db *sql.DB) error {
	if _, err := db.ExecContext(ctx, `UPDATE meta SET rev_epoch = newest.rev + 1 - pg_current_xact_id()::text::bigint
FROM (SELECT coalesce(max(rev), 0) >> 14 AS rev FROM job_state) AS newest
WHERE one = 1 AND pg_current_xact_id()::text::bigint + rev_epoch <= newest.rev`); err != nil {
		return err
	}
	_, err := db.ExecContext(ctx, `DELETE FROM clock WHERE newest_us < (SELECT max(newest_us) FROM clock)
AND newest_us < extract(epoch FROM clock_timestamp()) * 1000000 - 86400000000`)
	return err
}

// unreachable says why the database cannot be used.
func (s *Store) unreachable(err error) error {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return &sluice.Error{Code: sluice.CodeUnavailable, Message: "the database refuses: " + pg.Message, Err: err}
	}
	return &sluice.Error{Code: sluice.CodeUnavailable, Message: "the database cannot be reached", Err: err}
}
