package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"sluice"
	"sluice/internal/vault"
)

// keyFile is the file with the master key of secrets, beside a SQLite database.
const keyFile = "secrets.key"

// keyEnv holds a master key itself. There is no flag for it: what stands on a
// command line is seen by everybody on the machine.
const keyEnv = "SLUICE_KEY"

const maxKeyFile = 4 << 10

// keyFlags say where the master keys of secrets are.
type keyFlags struct {
	KeyFile         string   `name:"key-file" help:"File with the master key of secrets, 32 bytes as 64 hexadecimal digits or in base64, unless the environment has it in SLUICE_KEY; else one is made beside the SQLite database. With PostgreSQL secrets need one that all servers have." env:"SLUICE_KEY_FILE" placeholder:"FILE" type:"path"`
	PreviousKeyFile []string `name:"previous-key-file" help:"File with a master key that was replaced, until sluice key rotate --master has run." env:"SLUICE_PREVIOUS_KEY_FILE" placeholder:"FILE" type:"path"`
}

// ring reads the master keys. Without one that is given and with no file beside
// the database there is none yet: see firstKey.
func (k *keyFlags) ring(a *app, beside string) (*vault.Ring, error) {
	r := &vault.Ring{}
	given := strings.TrimSpace(a.env(keyEnv))
	if given != "" && k.KeyFile != "" {
		return nil, sluice.Invalid("--key-file", "is given, and %s too; give one of them", keyEnv)
	}
	if err := os.Unsetenv(keyEnv); err != nil { // what this process starts does not inherit it
		return nil, err
	}
	for _, path := range k.PreviousKeyFile {
		m, err := readKey("--previous-key-file", path)
		if err != nil {
			return nil, err
		}
		r.Previous = append(r.Previous, m)
	}
	var err error
	switch {
	case given != "":
		if r.Current, err = vault.ParseMaster(given); err != nil {
			return nil, sluice.Invalid(keyEnv, "%v", err)
		}
	case k.KeyFile != "":
		r.Current, err = readKey("--key-file", k.KeyFile)
	case beside != "":
		if r.Current, err = readKey(beside, beside); errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	}
	return r, err
}

// readKey reads a file with a master key.
func readKey(field, path string) (*vault.Master, error) {
	unread := func(err error) error {
		return &sluice.Error{Code: sluice.CodeInvalid, Field: field, Message: "cannot be read: " + plainCause(err), Err: err}
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, unread(err)
	}
	if info.Size() > maxKeyFile {
		return nil, sluice.Invalid(field, "%s is too large for a key", path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, unread(err)
	}
	m, err := vault.ParseMaster(string(text))
	if err != nil {
		return nil, sluice.Invalid(field, "%s holds no key: %v", path, err)
	}
	return m, nil
}

// keyBeside is where the key of a database is kept if none is given; "" for
// one that is not a file of this machine.
func keyBeside(database, path string) string {
	if onPostgres(database) {
		return ""
	}
	return filepath.Join(filepath.Dir(filePath(database, path)), keyFile)
}

// makeKey writes a new master key, for its owner alone, whole or not at all, and
// such that it is there before anything is sealed under it.
func makeKey(path string) (*vault.Master, error) {
	text := vault.NewMaster()
	f, err := os.CreateTemp(filepath.Dir(path), ".key-") // for its owner alone
	if err != nil {
		return nil, fmt.Errorf("make the key of secrets: %w", err)
	}
	_, err = f.WriteString(text + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Link(f.Name(), path) // which overwrites nothing
	}
	if err = errors.Join(err, os.Remove(f.Name())); err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return nil, fmt.Errorf("make the key of secrets: %w", err)
	}
	return vault.ParseMaster(text)
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// firstKey makes the key of a SQLite database that has none yet and holds no
// secrets, and says which secrets cannot be opened. A key that is gone stops
// only what needs it.
func (v *server) firstKey(ctx context.Context) error {
	missing, some, err := v.engine.MissingKeys(ctx)
	if err != nil {
		return err
	}
	if len(missing) > 0 {
		v.log.Error("the key of secrets is not that under which they were saved; give it with --key-file", "workspaces", missing)
	}
	path := keyBeside(v.cmd.Database, filepath.Join(v.cmd.Data, databaseFile))
	if v.keys.Current != nil || path == "" || some {
		return nil
	}
	m, err := makeKey(path)
	if err != nil {
		return err
	}
	v.keys.Current = m
	v.log.Info("made the key of secrets; keep a copy of it apart from those of the database", "file", path)
	return nil
}
