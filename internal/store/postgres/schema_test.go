package postgres

import (
	"context"
	"database/sql"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/pressly/goose/v3"

	"sluice/internal/pgtest"
	"sluice/internal/store"
	"sluice/internal/store/storetest"
)

var rewrite = flag.Bool("rewrite", false, "rewrite schema.golden.sql")

// schemaOf describes all tables, indexes and sequences of a database.
const schemaOf = `
SELECT format('TABLE %s %s', c.relname, c.reloptions), string_agg(format(E'\n  %s %s%s%s%s', a.attname, format_type(a.atttypid, a.atttypmod),
  CASE WHEN l.collname <> 'default' THEN ' COLLATE ' || l.collname END, CASE WHEN a.attnotnull THEN ' NOT NULL' END,
  CASE WHEN a.attidentity <> '' THEN ' IDENTITY' WHEN d.adbin IS NOT NULL THEN ' DEFAULT ' || pg_get_expr(d.adbin, d.adrelid) END), '' ORDER BY a.attnum)
FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_attrdef AS d ON d.adrelid = c.oid AND d.adnum = a.attnum LEFT JOIN pg_collation AS l ON l.oid = a.attcollation
WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace AND c.relname NOT LIKE 'goose%' GROUP BY c.oid, c.relname, c.reloptions
UNION ALL SELECT indexdef, '' FROM pg_indexes WHERE schemaname = 'public' AND tablename NOT LIKE 'goose%'
UNION ALL SELECT format('SEQUENCE %s INCREMENT %s', sequencename, increment_by), '' FROM pg_sequences WHERE sequencename NOT LIKE 'goose%'
ORDER BY 1`

// TestSchema compares the schema that the migrations result in with the
// committed one.
func TestSchema(t *testing.T) {
	dsn := pgtest.Database(t)
	s := open(t, dsn, Options{})
	defer s.Close()
	var b strings.Builder
	if err := s.ask(context.Background(), func(p *pipe) {
		p.add(func(r *row) { fmt.Fprintf(&b, "%s%s;\n\n", r.getStr(), r.getStr()) }, schemaOf)
	}); err != nil {
		t.Fatal(err)
	}
	const golden = "schema.golden.sql"
	if *rewrite {
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("the schema is not that of %s; if it is meant to change, run the test with -rewrite", golden)
	}
}

// TestSameMigrations: every driver has the same numbers and names.
func TestSameMigrations(t *testing.T) {
	names := func(f fs.FS) string {
		list, err := fs.Glob(f, "migrations/*.sql")
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(list, "\n")
	}
	if a, b := names(os.DirFS("../sqlite")), names(os.DirFS(".")); a != b {
		t.Errorf("SQLite's:\n%s\nours:\n%s", a, b)
	}
}

// TestFoldersOfBefore opens a database of before there were rights on folders.
func TestFoldersOfBefore(t *testing.T) {
	dsn := pgtest.Database(t)
	older(t, dsn, storetest.BeforeRights, func(db *sql.DB) {
		storetest.WriteOldFolders(t, func(q string, args ...any) error {
			_, err := db.Exec(q, args...)
			return err
		})
	})
	s := open(t, dsn, Options{})
	defer s.Close()
	storetest.CheckOldFolders(t, s)
}

// older brings an empty database to an older schema and fills it.
func older(t *testing.T, dsn string, version int64, fill func(*sql.DB)) {
	t.Helper()
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		t.Fatal(err)
	}
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		t.Fatal(err)
	}
	p, err := goose.NewProvider(goose.DialectPostgres, db, files, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.UpTo(context.Background(), version); err != nil {
		t.Fatal(err)
	}
	fill(db)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestFirstStarts has three servers start at once on an empty database, and
// three more on one with the schema of the first release.
func TestFirstStarts(t *testing.T) {
	for _, from := range []int64{0, 1} {
		dsn := pgtest.Database(t)
		if from > 0 {
			older(t, dsn, from, func(db *sql.DB) {
				if _, err := db.Exec(`INSERT INTO workspace VALUES ('old', 'Old', 'ann', 7)`); err != nil {
					t.Fatal(err)
				}
			})
		}
		var all sync.WaitGroup
		for i := range 3 {
			all.Go(func() {
				s, err := Open(context.Background(), dsn, Options{Logger: quiet})
				if err != nil {
					t.Error(err)
					return
				}
				defer s.Close()
				err = s.Update(context.Background(), func(tx store.Tx) error {
					return tx.SaveWorkspace(&store.Workspace{ID: string(rune('a' + i))})
				})
				if err != nil {
					t.Error(err)
				}
				if from == 0 {
					return
				}
				err = s.View(context.Background(), func(r store.Reader) error {
					w, err := r.Workspace("old")
					if err == nil && (w.Name != "Old" || w.Archived) {
						t.Errorf("%+v", w)
					}
					return err
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
	}
}
