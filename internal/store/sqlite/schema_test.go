package sqlite

import (
	"context"
	"database/sql"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pressly/goose/v3"

	"sluice/internal/store"
	"sluice/internal/store/storetest"
)

var rewrite = flag.Bool("rewrite", false, "rewrite schema.golden.sql")

// TestSchema compares the schema that the migrations result in with the
// committed one.
func TestSchema(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "s.db"), Options{})
	defer s.Close()
	var b strings.Builder
	rows := s.tx.c.once(`SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' AND name NOT LIKE 'goose_%'
ORDER BY tbl_name, type DESC, name`)
	for rows.next() {
		b.WriteString(rows.getStr() + ";\n\n")
	}
	if err := rows.end(); err != nil {
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

// TestPlans asks for the plan of every statement: none that takes part in
// pushing, taking or reporting work may read a whole table or sort.
func TestPlans(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "s.db"), Options{})
	defer s.Close()
	plans := 0
	for _, q := range queries {
		rows := s.tx.c.once("EXPLAIN QUERY PLAN " + q.text)
		for range rows.params {
			rows.null()
		}
		for rows.next() {
			rows.skip()
			rows.skip()
			rows.skip()
			step := rows.getStr()
			plans++
			if q.cold || !strings.HasPrefix(step, "SCAN") && !strings.Contains(step, "TEMP B-TREE") || allowed(q, step) {
				continue
			}
			t.Errorf("%s\n  %s", q.text, step)
		}
		if err := rows.end(); err != nil {
			t.Errorf("%s: %v", q.text, err)
		}
	}
	if plans < 50 {
		t.Errorf("only %d steps were looked at", plans)
	}
}

// allowed lists scans that read no more rows than they return.
func allowed(q *query, step string) bool {
	switch q {
	case qExpiry: // the first entry of a partial index
		return step == "SCAN job USING COVERING INDEX job_expiry"
	case qFlowWake:
		return step == "SCAN flow_run USING COVERING INDEX flow_run_wake"
	case qWake:
		return step == "SCAN line USING COVERING INDEX line_wake"
	case qGoneOnes: // a partial index of the few workers that are gone
		return step == "SCAN worker USING INDEX worker_gone"
	case qGroupUsed: // one row of one value
		return step == "SCAN CONSTANT ROW"
	case qAhead: // the rows that the subquery returns, at most as many as asked for
		return step == "SCAN (subquery-1)"
	}
	return false
}

// TestFoldersOfBefore opens a database of before there were rights on folders.
func TestFoldersOfBefore(t *testing.T) {
	path := older(t, storetest.BeforeRights, func(db *sql.DB) {
		storetest.WriteOldFolders(t, func(q string, args ...any) error {
			_, err := db.Exec(q, args...)
			return err
		})
	})
	s := open(t, path, Options{})
	defer s.Close()
	storetest.CheckOldFolders(t, s)
}

// older makes a database of an older schema and fills it.
func older(t *testing.T, version int64, fill func(*sql.DB)) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "s.db")
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		t.Fatal(err)
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db, files, goose.WithDisableGlobalRegistry(true))
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
	return path
}

// TestOldDatabase opens a database of the first schema that has a row in it.
func TestOldDatabase(t *testing.T) {
	path := older(t, 1, func(db *sql.DB) {
		if _, err := db.Exec(`INSERT INTO workspace VALUES ('old', 'Old', 'ann', 7)`); err != nil {
			t.Fatal(err)
		}
	})
	s := open(t, path, Options{})
	defer s.Close()
	err := s.View(context.Background(), func(r store.Reader) error {
		w, err := r.Workspace("old")
		if err == nil && (w.Name != "Old" || w.Archived) {
			t.Errorf("%+v", w)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
