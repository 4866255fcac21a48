package engine

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/crypto/argon2"

	"sluice"
)

// How passwords are hashed: what OWASP names as the least for argon2id. One
// hash takes 40 ms of a processor and 19 MiB.
const (
	argonMemoryKB = 19 << 10
	argonTime     = 2
	argonThreads  = 1
	argonSalt     = 16
	argonKey      = 32

	// hashesAtOnce bounds what signing in takes of the machine; others wait,
	// hashPatience at most.
	hashesAtOnce = 2
	hashPatience = 10 * time.Second

	minPassword, maxPassword = 8, 1024 // bytes
)

var base64s = base64.RawStdEncoding

// checkPassword says whether a password may be one.
func checkPassword(password string) error {
	if len(password) < minPassword || len(password) > maxPassword {
		return sluice.Invalid("password", "must have %d to %d bytes", minPassword, maxPassword)
	}
	return nil
}

// hashPassword hashes a password with a salt of its own, in the form that other
// programs write: $argon2id$v=19$m=…,t=…,p=…$salt$hash.
func (e *Engine) hashPassword(ctx context.Context, password string) (string, error) {
	if err := checkPassword(password); err != nil {
		return "", err
	}
	var salt [argonSalt]byte
	_, _ = rand.Read(salt[:]) // never fails
	var key []byte
	err := e.hashing(ctx, func() {
		key = argon2.IDKey([]byte(password), salt[:], argonTime, argonMemoryKB, argonThreads, argonKey)
	})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, argonMemoryKB, argonTime, argonThreads,
		base64s.EncodeToString(salt[:]), base64s.EncodeToString(key)), nil
}

// nobodysHash is compared with where there is no user: an answer takes as long.
var nobodysHash = fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, argonMemoryKB, argonTime, argonThreads,
	base64s.EncodeToString(make([]byte, argonSalt)), base64s.EncodeToString(make([]byte, argonKey)))

// isPassword reports whether a password is the one that was hashed. An empty
// hash takes as long, and is nobody's.
func (e *Engine) isPassword(ctx context.Context, password, hash string) (bool, error) {
	known := hash != ""
	if !known {
		hash = nobodysHash
	}
	var (
		version        int
		memory, passes uint32
		threads        uint8
	)
	head, rest, _ := strings.Cut(strings.TrimPrefix(hash, "$argon2id$"), "$")
	cost, rest, _ := strings.Cut(rest, "$")
	saltText, wantText, _ := strings.Cut(rest, "$")
	salt, saltErr := base64s.DecodeString(saltText)
	want, wantErr := base64s.DecodeString(wantText)
	_, headErr := fmt.Sscanf(head, "v=%d", &version)
	_, costErr := fmt.Sscanf(cost, "m=%d,t=%d,p=%d", &memory, &passes, &threads)
	if err := errors.Join(headErr, costErr, saltErr, wantErr); err != nil || version != argon2.Version || len(want) != argonKey {
		return false, fmt.Errorf("a stored hash of a password cannot be read: %w", err)
	}
	if len(password) > maxPassword {
		password = "" // no password is that long
	}
	var got []byte
	err := e.hashing(ctx, func() {
		got = argon2.IDKey([]byte(password), salt, passes, memory, threads, argonKey)
	})
	return err == nil && subtle.ConstantTimeCompare(got, want) == 1 && known, err
}

// hashing runs f when few others do.
func (e *Engine) hashing(ctx context.Context, f func()) error {
	wait, cancel := context.WithTimeout(ctx, hashPatience)
	defer cancel()
	select {
	case e.hashes <- struct{}{}:
	case <-wait.Done():
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return sluice.Errorf(sluice.CodeUnavailable, "many people sign in right now; try again")
	}
	defer func() { <-e.hashes }()
	f()
	return nil
}
