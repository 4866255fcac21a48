package engine_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice"
	"sluice/internal/engine"
	"sluice/internal/store"
	"sluice/internal/vault"
)

func masterKey(t testing.TB) *vault.Master {
	t.Helper()
	m, err := vault.ParseMaster(vault.NewMaster())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func newVaultWorld(t testing.TB) *world {
	t.Helper()
	return newWorldWith(t, engine.Options{Keys: &vault.Ring{Current: masterKey(t)}})
}

var (
	mate  = engine.Who{Editor: engine.Editor{Username: "ann", Email: "ann@x.org"}, Folders: map[string]store.Right{"x": store.RightRead}}
	chief = engine.Who{Editor: engine.Editor{Username: "chief", Email: "admin@sluice.local"}, Admin: true}
)

func (w *world) variable(path, value string, secret bool) {
	w.t.Helper()
	w.must(w.CreateVariable(w.ctx(), "main", engine.VariableChange{Path: &path, Value: &value, Secret: &secret}, chief))
}

func (w *world) value(path string) string {
	w.t.Helper()
	_, value, err := w.VariableValue(w.ctx(), "main", path, chief)
	if err != nil {
		w.t.Errorf("%s: %v", path, err)
	}
	return value
}

// fails holds an error to a code and to a part of its text.
func fails(t testing.TB, err error, code sluice.Code, part string) {
	t.Helper()
	if sluice.CodeOf(err) != code || !strings.Contains(err.Error(), part) {
		t.Errorf("%v (%s), want %s and %q", err, sluice.CodeOf(err), code, part)
	}
}

// TestSecretAtRest looks for a secret in every file of the database.
func TestSecretAtRest(t *testing.T) {
	w := newVaultWorld(t)
	const secret = "hunter2-hunter2-hunter2"
	w.variable("f/x/secret", secret, true)
	w.variable("f/x/plain", "readable-by-design", false)
	v, err := w.Variable(w.ctx(), "main", "f/x/secret", chief)
	w.must(err)
	if bytes.Contains(v.Value, []byte("hunter2")) || strings.Contains(w.SealedText(v), "hunter2") {
		t.Error("the row shows the secret")
	}
	if got := w.value("f/x/secret"); got != secret {
		t.Errorf("it opens as %q", got)
	}
	w.close()
	files, err := filepath.Glob(filepath.Join(w.dir, "*"))
	w.must(err)
	plain := false
	for _, f := range files {
		b, err := os.ReadFile(f)
		w.must(err)
		if bytes.Contains(b, []byte("hunter2")) {
			t.Errorf("%s holds the secret", f)
		}
		plain = plain || bytes.Contains(b, []byte("readable-by-design"))
	}
	w.open()
	if got := w.value("f/x/secret"); got != secret {
		t.Errorf("it opens as %q after a start", got)
	}
	if w.dsn == "" && !plain {
		t.Error("the files that were searched are not those of the database")
	}
}

func TestVariableChanges(t *testing.T) {
	w := newVaultWorld(t)
	w.variable("f/x/a", "one", true)
	ptr := func(s string) *string { return &s }
	yes, no := true, false
	update := func(path string, c engine.VariableChange) error {
		return w.UpdateVariable(w.ctx(), "main", path, c, chief)
	}

	fails(t, w.CreateVariable(w.ctx(), "main", engine.VariableChange{Path: ptr("f/x/a"), Value: ptr("")}, chief), sluice.CodeConflict, "path: ")
	fails(t, w.CreateVariable(w.ctx(), "main", engine.VariableChange{Path: ptr("f/x/b")}, chief), sluice.CodeInvalid, "value: is required")
	fails(t, w.CreateVariable(w.ctx(), "none", engine.VariableChange{Path: ptr("f/x/b"), Value: ptr("")}, chief), sluice.CodeNotFound, "workspace")
	fails(t, update("f/x/a", engine.VariableChange{Value: ptr(strings.Repeat("x", engine.MaxVariableBytes+1))}), sluice.CodeInvalid, "value: ")
	fails(t, update("f/x/a", engine.VariableChange{Description: ptr(strings.Repeat("x", 10_001))}), sluice.CodeInvalid, "description: ")
	fails(t, update("f/x/a", engine.VariableChange{Path: ptr("f//a")}), sluice.CodeInvalid, "path: ")
	fails(t, update("f/x/none", engine.VariableChange{Value: ptr("")}), sluice.CodeNotFound, "f/x/none")
	fails(t, update("f/x/a", engine.VariableChange{Secret: &no}), sluice.CodeInvalid, "is_secret: ")

	w.must(update("f/x/a", engine.VariableChange{Path: ptr("f/y/b"), Description: ptr("moved")}))
	if got := w.value("f/y/b"); got != "one" {
		t.Errorf("after it moved: %q", got)
	}
	w.must(update("f/y/b", engine.VariableChange{Secret: &no, Value: ptr("open")}))
	v, err := w.Variable(w.ctx(), "main", "f/y/b", chief)
	w.must(err)
	if string(v.Value) != "open" || v.Secret() || v.Description != "moved" {
		t.Errorf("%+v", v)
	}
	w.must(update("f/y/b", engine.VariableChange{Secret: &yes}))
	v, err = w.Variable(w.ctx(), "main", "f/y/b", chief)
	w.must(err)
	if !v.Secret() || bytes.Contains(v.Value, []byte("open")) || w.value("f/y/b") != "open" {
		t.Errorf("made a secret: %+v", v)
	}

	// What was pulled goes back as it was, and nowhere else.
	text := w.SealedText(v)
	w.must(update("f/y/b", engine.VariableChange{Value: &text, Sealed: true}))
	again, err := w.Variable(w.ctx(), "main", "f/y/b", chief)
	w.must(err)
	if w.SealedText(again) != text {
		t.Error("a pull after a push is another one")
	}
	fails(t, w.CreateVariable(w.ctx(), "main", engine.VariableChange{Path: ptr("f/z"), Value: &text, Secret: &yes, Sealed: true}, chief), sluice.CodeInvalid, "value: was not encrypted")
	fails(t, update("f/y/b", engine.VariableChange{Value: ptr("plain"), Sealed: true}), sluice.CodeInvalid, "value: is said to be encrypted")
	_, err = w.RotateKeys(w.ctx(), "main", false)
	w.must(err)
	fails(t, update("f/y/b", engine.VariableChange{Value: &text, Sealed: true}), sluice.CodeInvalid, "pull it again")

	w.must(w.DeleteVariable(w.ctx(), "main", "f/y/b", chief))
	fails(t, w.DeleteVariable(w.ctx(), "main", "f/y/b", chief), sluice.CodeNotFound, "f/y/b")
}

// TestVariableBytes: a value has its bound whatever is said of it.
func TestVariableBytes(t *testing.T) {
	w := newVaultWorld(t)
	path, large, secret := "f/x/large", strings.Repeat("x", engine.MaxVariableBytes+1), true
	for _, c := range []engine.VariableChange{{}, {Sealed: true}, {Secret: &secret}} {
		c.Path, c.Value = &path, &large
		fails(t, w.CreateVariable(w.ctx(), "main", c, chief), sluice.CodeInvalid, "value: has 65537 bytes")
	}
}

// TestPrivatePaths: below u/NAME/ others see nothing, and administrators all.
func TestPrivatePaths(t *testing.T) {
	w := newVaultWorld(t)
	for _, path := range []string{"u/bob/a", "u/ann/a", "u/anna/a", "f/x/a"} {
		w.variable(path, "v", false)
		p, kind := path, "x"
		w.must(w.CreateResource(w.ctx(), "main", engine.ResourceChange{Path: &p, Type: &kind}, false, chief, nil))
	}
	list, err := w.Variables(w.ctx(), store.VariableFilter{Workspace: "main"}, mate)
	w.must(err)
	if len(list) != 2 || list[0].Path != "f/x/a" || list[1].Path != "u/ann/a" {
		t.Errorf("ann sees %d variables", len(list))
	}
	second, err := w.Resources(w.ctx(), store.VariableFilter{Workspace: "main", Offset: 1, Limit: 1}, mate, nil)
	w.must(err)
	if len(second) != 1 || second[0].Path != "u/ann/a" {
		t.Errorf("ann sees %v on her second page", second)
	}
	path := "u/bob/b"
	_, _, err = w.VariableValue(w.ctx(), "main", "u/bob/a", mate)
	fails(t, err, sluice.CodeNotFound, "u/bob/a")
	_, err = w.Resource(w.ctx(), "main", "u/bob/a", mate)
	fails(t, err, sluice.CodeNotFound, "u/bob/a")
	fails(t, w.UpdateVariable(w.ctx(), "main", "u/bob/a", engine.VariableChange{Value: &path}, mate), sluice.CodeNotFound, "u/bob/a")
	fails(t, w.UpdateVariable(w.ctx(), "main", "u/ann/a", engine.VariableChange{Path: &path}, mate), sluice.CodeForbidden, "path: ")
	fails(t, w.CreateVariable(w.ctx(), "main", engine.VariableChange{Path: &path, Value: &path}, mate), sluice.CodeForbidden, "path: ")
	fails(t, w.CreateResource(w.ctx(), "main", engine.ResourceChange{Path: &path, Type: &path}, false, mate, nil), sluice.CodeInvalid, "resource_type: ")
	fails(t, w.DeleteResource(w.ctx(), "main", "u/bob/a", mate), sluice.CodeNotFound, "u/bob/a")
}

// breaking is a store of which every update fails that writes more secrets
// than are left, as at a crash: it leaves no trace.
type breaking struct {
	store.Store
	left *int
}

type breakingTx struct {
	store.Tx
	left *int
}

var errCrash = errors.New("crash")

func (b breaking) Update(ctx context.Context, fn func(store.Tx) error) error {
	return b.Store.Update(ctx, func(tx store.Tx) error { return fn(breakingTx{tx, b.left}) })
}

func (b breakingTx) SaveVariable(v *store.Variable) error {
	if *b.left--; *b.left < 0 {
		return errCrash
	}
	return b.Tx.SaveVariable(v)
}

// TestRotateCrash changes keys and dies after every number of secrets: all of
// them open whenever that is, and a repetition ends the work.
func TestRotateCrash(t *testing.T) {
	w := newVaultWorld(t)
	w.must(w.CreateWorkspace(w.ctx(), store.Workspace{ID: "two"}))
	secret := true
	for _, ws := range []string{"main", "two"} {
		for _, path := range []string{"f/a", "f/b", "f/c"} {
			value := ws + path
			w.must(w.CreateVariable(w.ctx(), ws, engine.VariableChange{Path: &path, Value: &value, Secret: &secret}, chief))
		}
	}
	open := func(when string, e *engine.Engine) {
		t.Helper()
		for _, ws := range []string{"main", "two"} {
			for _, path := range []string{"f/a", "f/b", "f/c"} {
				if _, v, err := e.VariableValue(w.ctx(), ws, path, chief); err != nil || v != ws+path {
					t.Errorf("%s: %s of %s opens as %q, %v", when, path, ws, v, err)
				}
			}
		}
	}
	left := 0
	broken, err := engine.New(w.ctx(), breaking{w.store, &left}, w.o)
	w.must(err)
	defer broken.Close()
	for n := range 6 {
		left = n
		if _, err := broken.RotateKeys(w.ctx(), "", false); !errors.Is(err, errCrash) {
			t.Fatalf("after %d secrets: %v", n, err)
		}
		open("after a crash", w.Engine)
	}
	done, err := w.RotateKeys(w.ctx(), "", false)
	w.must(err)
	if done != (engine.Rotation{Workspaces: 2, Secrets: 6}) {
		t.Errorf("%+v", done)
	}
	open("after all", w.Engine)
}

// TestRotateMaster replaces the master key: with both keys all opens before,
// between and after; with one alone what the other wraps does not.
func TestRotateMaster(t *testing.T) {
	w := newVaultWorld(t)
	w.must(w.CreateWorkspace(w.ctx(), store.Workspace{ID: "two"}))
	w.variable("f/x/a", "value", true)
	first := w.o.Keys.Current
	second := masterKey(t)
	restart := func(r *vault.Ring) {
		t.Helper()
		w.close()
		w.o.Keys = r
		w.open()
	}
	restart(&vault.Ring{Current: second})
	_, _, err := w.VariableValue(w.ctx(), "main", "f/x/a", chief)
	fails(t, err, sluice.CodeConflict, first.ID())
	path, value, secret := "f/x/b", "v", true
	fails(t, w.CreateVariable(w.ctx(), "main", engine.VariableChange{Path: &path, Value: &value, Secret: &secret}, chief), sluice.CodeConflict, first.ID())
	_, err = w.RotateKeys(w.ctx(), "", true)
	fails(t, err, sluice.CodeConflict, first.ID())
	w.must(w.CreateVariable(w.ctx(), "two", engine.VariableChange{Path: &path, Value: &value, Secret: &secret}, chief))
	done, err := w.RotateKeys(w.ctx(), "", false) // one workspace does not keep the other from it
	fails(t, err, sluice.CodeConflict, first.ID())
	if done != (engine.Rotation{Workspaces: 1, Secrets: 1}) {
		t.Errorf("of two workspaces %+v", done)
	}
	if missing, any, err := w.MissingKeys(w.ctx()); err != nil || !any || len(missing) != 1 || missing[0] != "main" {
		t.Errorf("missing: %v %v %v", missing, any, err)
	}
	restart(&vault.Ring{Current: second, Previous: []*vault.Master{first}})
	if w.value("f/x/a") != "value" {
		t.Error("it does not open under the previous key")
	}
	for i, want := range []engine.Rotation{{Workspaces: 1}, {}} {
		if done, err := w.RotateKeys(w.ctx(), "", true); err != nil || done != want {
			t.Errorf("time %d: %+v, %v", i, done, err)
		}
	}
	restart(&vault.Ring{Current: second})
	if w.value("f/x/a") != "value" {
		t.Error("it does not open under the new key alone")
	}
}

// TestNoKey: without a key what is no secret works, and a secret is refused.
func TestNoKey(t *testing.T) {
	w := newWorld(t)
	w.variable("f/x/plain", "v", false)
	path, value, secret := "f/x/b", "v", true
	fails(t, w.CreateVariable(w.ctx(), "main", engine.VariableChange{Path: &path, Value: &value, Secret: &secret}, chief), sluice.CodeInvalid, "is_secret: this server has no key")
	fails(t, w.UpdateVariable(w.ctx(), "main", "f/x/plain", engine.VariableChange{Secret: &secret}, chief), sluice.CodeInvalid, "is_secret: this server has no key")
	if w.value("f/x/plain") != "v" {
		t.Error("the variable changed")
	}
	_, err := w.RotateKeys(w.ctx(), "", false)
	fails(t, err, sluice.CodeConflict, "--key-file")
}
