package vault

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
)

func master(t *testing.T) *Master {
	t.Helper()
	m, err := ParseMaster(NewMaster())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestMaster(t *testing.T) {
	raw := bytes.Repeat([]byte{251, 7}, 16)
	std := base64.StdEncoding.EncodeToString(raw)
	want, err := ParseMaster(std)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		" " + strings.Repeat("FB07", 16) + "\n", strings.Repeat("fb07", 16), base64.RawURLEncoding.EncodeToString(raw), base64.URLEncoding.EncodeToString(raw),
	} {
		m, err := ParseMaster(text)
		if err != nil || m.ID() != want.ID() || !bytes.Equal(m.secret, raw) {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, text := range []string{"", "secret", strings.Repeat("fb", 31), strings.Repeat("fb", 33), strings.Repeat("x", 64), std[4:]} {
		if _, err := ParseMaster(text); err == nil || text != "" && strings.Contains(err.Error(), text) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if a, b := master(t), master(t); a.ID() == b.ID() || len(a.ID()) != 2*idBytes {
		t.Errorf("ids %s and %s", a.ID(), b.ID())
	}
}

// TestBound tries what is wrapped and sealed in every place but its own.
func TestBound(t *testing.T) {
	m, other := master(t), master(t)
	k, err := NewKey("one", 7)
	if err != nil {
		t.Fatal(err)
	}
	wrapped, err := m.Wrap(k)
	if err != nil {
		t.Fatal(err)
	}
	again, err := m.Unwrap("one", 7, wrapped)
	if err != nil {
		t.Fatal(err)
	}
	broken := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, ErrBroken) {
			t.Errorf("%s: %v", what, err)
		}
	}
	_, err = other.Unwrap("one", 7, wrapped)
	broken("another master", err)
	_, err = m.Unwrap("two", 7, wrapped)
	broken("another workspace", err)
	_, err = m.Unwrap("one", 8, wrapped)
	broken("another number", err)
	_, err = m.Unwrap("one", 7, wrapped[1:])
	broken("cut", err)

	sealed := k.Seal("f/a", []byte("plain text"))
	if bytes.Contains(sealed, []byte("plain")) || bytes.Equal(sealed, k.Seal("f/a", []byte("plain text"))) {
		t.Error("it shows, or is the same twice")
	}
	if plain, err := again.Open("f/a", sealed); err != nil || string(plain) != "plain text" {
		t.Errorf("%q, %v", plain, err)
	}
	_, err = again.Open("f/b", sealed)
	broken("another path", err)
	for i := range sealed {
		bad := bytes.Clone(sealed)
		bad[i] ^= 1
		_, err = again.Open("f/a", bad)
		broken("changed", err)
	}
	_, err = again.Open("f/a", nil)
	broken("nothing", err)
	k2, _ := NewKey("one", 7)
	_, err = k2.Open("f/a", sealed)
	broken("another key", err)
	if plain, err := k.Open("f/a", k.Seal("f/a", nil)); err != nil || len(plain) != 0 {
		t.Errorf("nothing: %q, %v", plain, err)
	}
}

func TestRing(t *testing.T) {
	a, b := master(t), master(t)
	var none *Ring
	r := &Ring{Current: a, Previous: []*Master{b}}
	switch {
	case none.Wraps() != nil, none.Named(a.ID()) != nil, (&Ring{}).Named("") != nil:
		t.Error("no key is one")
	case r.Wraps() != a, r.Named(a.ID()) != a, r.Named(b.ID()) != b, r.Named("x") != nil:
		t.Error("wrong keys")
	}
}
