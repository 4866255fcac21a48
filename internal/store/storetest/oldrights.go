package storetest

import (
	"testing"

	"sluice/internal/store"
)

// BeforeRights is the newest schema that knew no rights on things.
const BeforeRights = 11

// WriteOldFolders fills a database of the schema [BeforeRights] with folders as
// they were then, and with things below paths of folders and groups.
func WriteOldFolders(t *testing.T, exec func(sql string, args ...any) error) {
	t.Helper()
	row := func(sql string, args ...any) {
		t.Helper()
		if err := exec(sql, args...); err != nil {
			t.Fatal(err)
		}
	}
	row(`INSERT INTO workspace (id, name, owner, created_us) VALUES ('w', 'W', 'ann', 7)`)
	for _, who := range []string{"ann@x.org", "bob@x.org"} {
		row(`INSERT INTO member VALUES ('w', $1, 'developer', 7)`, who)
	}
	for name, body := range map[string]string{
		"owned":  `{"owners":["u/ann","u/ann",7],"extra_perms":{"g/devs":true,"u/bob":false,"u/eve":"x"}}`,
		"quiet":  `{"summary":"a \u0000 b \ud800 c \\u0000"}`,
		"owners": `{"summary":"\udfff","owners":["u/bob"]}`,
		"odd":    `{"owners":"u/ann","extra_perms":null}`,
	} {
		row(`INSERT INTO folder VALUES ('w', $1, 'ann', 'ann', 7, $2)`, name, []byte(body))
	}
	for _, path := range []string{"f/quiet/r", "f/unmade/r", "g/devs/r", "g/all/r", "u/ann/r", "plain"} {
		row(`INSERT INTO resource VALUES ('w', $1, 'db', 'ann', 'ann', 7, $2, $3)`, path, []byte{}, []byte("1"))
	}
}

// CheckOldFolders checks what [WriteOldFolders] becomes.
func CheckOldFolders(t *testing.T, s store.Store) {
	t.Helper()
	w := &world{T: t, s: s}
	w.view(func(r store.Reader) {
		w.equal("rights", must(r.Grants("w", store.KindFolder, "owned", "quiet", "owners", "odd", "unmade", "other")), map[string][]store.Grant{
			"owned":  {{Who: "g/devs", Right: store.RightWrite}, {Who: "u/ann", Right: store.RightOwn}, {Who: "u/bob", Right: store.RightRead}},
			"quiet":  {{Who: "g/all", Right: store.RightWrite}},
			"owners": {{Who: "u/bob", Right: store.RightOwn}},
			"odd":    {{Who: "g/all", Right: store.RightWrite}},
			"unmade": {{Who: "g/all", Right: store.RightWrite}},
		})
		for _, who := range []string{"ann@x.org", "bob@x.org"} {
			w.equal("groups", must(r.GroupsOf("w", who)), []string{"devs"})
		}
	})
}
