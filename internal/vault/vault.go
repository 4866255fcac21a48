// Package vault seals texts, so that who reads the database does not read them.
// It knows neither a database nor a file.
//
//	master key ──wraps──▶ key of a workspace ──seals──▶ the value at a path
//
// A master key is 32 bytes that a file or the environment gives. From it a key
// is derived for each workspace (HKDF-SHA-256), and that wraps the workspace's
// own key, 32 random bytes. Both wrapping and sealing are AES-256-GCM with a
// random nonce. What is sealed is bound to its workspace and path, what is
// wrapped to its workspace and number: moved elsewhere, it does not open.
package vault

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

const (
	keyBytes = 32
	idBytes  = 8
)

// ErrBroken says that something does not open: it was sealed under another key
// or for another place, or was changed since.
var ErrBroken = errors.New("vault: it does not open under this key")

// Master is a master key. It does not change.
type Master struct {
	secret []byte
	id     string
}

// NewMaster draws a master key and returns it as [ParseMaster] reads it.
func NewMaster() string {
	var b [keyBytes]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// ParseMaster reads a master key: 32 bytes as 64 hexadecimal digits, or in
// base64. White space around it does not count. The error never shows the text.
func ParseMaster(text string) (*Master, error) {
	text = strings.TrimSpace(text)
	secret, err := hex.DecodeString(text)
	for _, enc := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
		if err == nil && len(secret) == keyBytes {
			break
		}
		secret, err = enc.DecodeString(text)
	}
	if err != nil || len(secret) != keyBytes {
		return nil, errors.New("must be 32 bytes, as 64 hexadecimal digits or in base64; openssl rand -hex 32 makes one")
	}
	m := &Master{secret: secret}
	id, err := m.derive("sluice: name of a master key", idBytes)
	m.id = hex.EncodeToString(id)
	return m, err
}

// ID names the key, and tells nothing of it.
func (m *Master) ID() string { return m.id }

func (m *Master) derive(purpose string, n int) ([]byte, error) {
	return hkdf.Key(sha256.New, m.secret, nil, purpose, n)
}

func (m *Master) wrapper(workspace string) (cipher.AEAD, error) {
	key, err := m.derive("sluice: wraps the key of workspace "+workspace, keyBytes)
	if err != nil {
		return nil, err
	}
	return gcm(key)
}

func gcm(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// Key is the key of a workspace. It does not change.
type Key struct {
	secret    []byte
	workspace string
	id        int64
	aead      cipher.AEAD
}

// NewKey draws a key for a workspace; id tells it from others of that workspace.
func NewKey(workspace string, id int64) (*Key, error) {
	secret := make([]byte, keyBytes)
	_, _ = rand.Read(secret) // never fails
	return newKey(secret, workspace, id)
}

func newKey(secret []byte, workspace string, id int64) (*Key, error) {
	aead, err := gcm(secret)
	return &Key{secret: secret, workspace: workspace, id: id, aead: aead}, err
}

// ID returns the number of the key.
func (k *Key) ID() int64 { return k.id }

func (k *Key) name() []byte { return fmt.Appendf(nil, "%s/%d", k.workspace, k.id) }

// Wrap returns a key such that only its master key opens it.
func (m *Master) Wrap(k *Key) ([]byte, error) {
	w, err := m.wrapper(k.workspace)
	if err != nil {
		return nil, err
	}
	return w.Seal(nil, nil, k.secret, k.name()), nil
}

// Unwrap opens the key of a workspace. ErrBroken: another one is wrapped there,
// or by another master key.
func (m *Master) Unwrap(workspace string, id int64, wrapped []byte) (*Key, error) {
	w, err := m.wrapper(workspace)
	if err != nil {
		return nil, err
	}
	name := (&Key{workspace: workspace, id: id}).name()
	secret, err := w.Open(nil, nil, wrapped, name)
	if err != nil {
		return nil, ErrBroken
	}
	return newKey(secret, workspace, id)
}

func (k *Key) place(path string) []byte { return []byte(k.workspace + "/" + path) }

// Seal seals a value for a path of the key's workspace.
func (k *Key) Seal(path string, plain []byte) []byte {
	return k.aead.Seal(nil, nil, plain, k.place(path))
}

// Open returns what was sealed for a path. ErrBroken: it was not, by this key.
func (k *Key) Open(path string, sealed []byte) ([]byte, error) {
	plain, err := k.aead.Open(nil, nil, sealed, k.place(path))
	if err != nil {
		return nil, ErrBroken
	}
	return plain, nil
}

// Ring is the master keys that a server has. Nil has none.
type Ring struct {
	Current  *Master   // wraps; nil: there is none
	Previous []*Master // only unwrap
}

// Wraps returns the key that wraps what is new; nil: there is none.
func (r *Ring) Wraps() *Master {
	if r == nil {
		return nil
	}
	return r.Current
}

// Named returns the key with an id; nil: there is none.
func (r *Ring) Named(id string) *Master {
	if r == nil {
		return nil
	}
	if r.Current != nil && r.Current.id == id {
		return r.Current
	}
	for _, m := range r.Previous {
		if m.id == id {
			return m
		}
	}
	return nil
}
