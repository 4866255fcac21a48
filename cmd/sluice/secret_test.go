package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"sluice"
)

// pty returns both sides of a terminal.
func pty(t *testing.T) (keyboard, terminal *os.File) {
	t.Helper()
	keyboard, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { keyboard.Close() })
	if err := unix.IoctlSetPointerInt(int(keyboard.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(keyboard.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { terminal.Close() })
	return keyboard, terminal
}

func echoes(t *testing.T, f *os.File) bool {
	t.Helper()
	s, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return s.Lflag&unix.ECHO != 0
}

// prompted is where the prompt appears: whoever sees it types.
type prompted struct {
	strings.Builder
	seen func()
}

func (p *prompted) Write(b []byte) (int, error) {
	if strings.Contains(string(b), ": ") {
		p.seen()
	}
	return p.Builder.Write(b)
}

// A password is typed unseen, and the terminal is afterwards as it was.
func TestPasswordIsTypedUnseen(t *testing.T) {
	tests := map[string]struct {
		typed []string
		isNew bool
		want  string
		code  sluice.Code
	}{
		"once":              {[]string{"a secret\n"}, false, "a secret", ""},
		"a new one, twice":  {[]string{"a secret\n", "a secret\n"}, true, "a secret", ""},
		"a slip":            {[]string{"a secret\n", "a sekret\n"}, true, "", sluice.CodeInvalid},
		"nothing was typed": {[]string{"\n"}, false, "", sluice.CodeInvalid},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			keyboard, screen := pty(t)
			a, _ := terminal(nil)
			a.in = screen
			a.err = &prompted{seen: func() {
				if echoes(t, screen) {
					t.Error("what is typed now is seen")
				}
				if _, err := keyboard.WriteString(tt.typed[0]); err != nil {
					t.Error(err)
				}
				tt.typed = tt.typed[1:]
			}}
			got, err := a.password(t.Context(), "Password: ", tt.isNew)
			if sluice.CodeOf(err) != tt.code || err == nil && got != tt.want || len(tt.typed) > 0 {
				t.Errorf("%q, %v; not typed: %q", got, err, tt.typed)
			}
			if !echoes(t, screen) {
				t.Error("the terminal stays blind")
			}
		})
	}
}

func TestInterruptAtThePrompt(t *testing.T) {
	keyboard, screen := pty(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	a, _ := terminal(nil)
	a.in, a.err = screen, &prompted{seen: cancel}
	if _, err := a.password(ctx, "Password: ", false); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if !echoes(t, screen) {
		t.Error("the terminal stays blind")
	}
	if _, err := keyboard.WriteString("\n"); err != nil { // lets the reader go
		t.Error(err)
	}
}
