package postgres

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"sluice"
	"sluice/internal/pgtest"
	"sluice/internal/store"
)

// TestErrorsOfTheDatabase has the database raise its own errors for the first
// writes of an update: what would succeed later is run again and done once, the
// rest is told, and leaves nothing behind.
func TestErrorsOfTheDatabase(t *testing.T) {
	dsn := pgtest.Database(t)
	s := open(t, dsn, Options{})
	defer s.Close()
	c := other(t, dsn)
	exec(t, c, `CREATE SEQUENCE raised`) // which no rollback takes back
	for _, row := range []struct {
		name, code string
		times      int
		says       string // "": it is done in the end
		kind       sluice.Code
	}{
		{"deadlock", codeDeadlock, 2, "", ""},
		{"serialization failure", codeSerialize, 3, "", ""},
		{"lock timeout", codeLock, 2, "", ""},
		{"disk full", codeDiskFull, 1000, "the database's disk is full; nothing was stored", sluice.CodeUnavailable},
		{"no text", codeBadText, 1000, "a text holds a NUL character", sluice.CodeInvalid},
		{"a mistake of ours", "42703", 1000, "raised by a test", sluice.CodeInternal},
	} {
		exec(t, c, fmt.Sprintf(`ALTER SEQUENCE raised RESTART;
CREATE OR REPLACE FUNCTION raise() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF nextval('raised') <= %d THEN RAISE EXCEPTION 'raised by a test' USING ERRCODE = '%s'; END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER raise BEFORE INSERT ON workspace FOR EACH ROW EXECUTE FUNCTION raise()`, row.times, row.code))
		id := "w" + row.code
		err := s.Update(context.Background(), func(tx store.Tx) error {
			g, err := tx.LockGroups([]string{id})
			if err != nil {
				return err
			}
			g[0].Taken++
			if err := tx.SaveGroup(g[0]); err != nil {
				return err
			}
			return tx.SaveWorkspace(&store.Workspace{ID: strings.ToLower(id)})
		})
		exec(t, c, `DROP TRIGGER raise ON workspace`)
		n, readErr := counted(s, id)
		switch {
		case row.says == "":
			if err != nil || n != 1 || readErr != nil {
				t.Errorf("%s: %v; counted %d, %v", row.name, err, n, readErr)
			}
		case err == nil || !strings.Contains(err.Error(), row.says) || sluice.CodeOf(err) != row.kind:
			t.Errorf("%s: %v (%s)", row.name, err, sluice.CodeOf(err))
		case n != 0:
			t.Errorf("%s: something was left behind: %d", row.name, n)
		}
	}
	if err := count(context.Background(), s, "after"); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}
