package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"sluice/internal/engine"
)

const (
	adminEmail   = "admin@sluice.local"
	adminName    = "admin"
	passwordFile = "admin-password"
)

// firstAdmin makes an administrator if there is no user yet. Its password is
// drawn, shown by the banner of this start, and kept in a file that only the
// owner may read. The file comes first: a start that is broken off between the
// two makes both anew.
func (v *server) firstAdmin(ctx context.Context) error {
	users, err := v.engine.Users(ctx, "", 1)
	if err != nil || len(users) > 0 {
		return err
	}
	password := strings.ToLower(rand.Text())
	if err := writeSecret(filepath.Join(v.cmd.Data, passwordFile), password); err != nil {
		return err
	}
	_, err = v.engine.CreateUser(ctx, engine.NewUser{Email: adminEmail, Username: adminName, Password: password, SuperAdmin: true})
	if err == nil {
		v.password = password
		return nil
	}
	// Of servers that start at the same time on one database, one makes the user.
	if users, again := v.engine.Users(ctx, "", 1); again == nil && len(users) > 0 {
		return os.Remove(filepath.Join(v.cmd.Data, passwordFile))
	}
	return err
}

// writeSecret writes a file that only the owner may read, whatever was there.
func writeSecret(path, text string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, text)
	return errors.Join(err, f.Close())
}
