package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"sluice"
)

const (
	defaultProfile = "default"
	maxConfig      = 1 << 20
)

// config is the file in which sign-ins are kept.
type config struct {
	Profile  string              `json:"profile"` // the one in use; "": none
	Profiles map[string]*profile `json:"profiles"`
}

// profile is a server, and how to get in.
type profile struct {
	URL       string `json:"url"`
	Workspace string `json:"workspace,omitempty"`
	Email     string `json:"email,omitempty"`
	Token     string `json:"token,omitempty"` // "": signed out
}

// configPath returns where the file is, whether it exists or not; "" if the
// user has no folder for such.
func configPath(a *app) string {
	if path := a.env("SLUICE_CONFIG"); path != "" {
		return path
	}
	if dir := a.env("XDG_CONFIG_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "sluice", "config.json")
	}
	if home := a.env("HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".config", "sluice", "config.json")
	}
	return ""
}

// readConfig reads the file; one that is not there is empty. It holds tokens,
// so one that others may read is refused.
func readConfig(a *app) (*config, error) {
	c := &config{Profiles: map[string]*profile{}}
	path := configPath(a)
	info, err := os.Stat(path)
	if path == "" || errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return nil, sluice.Invalid(path, "cannot be read: %s", plainCause(err))
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, sluice.Invalid(path, "holds tokens, and others may read it; change that with: chmod 600 %s", shellWord(path))
	}
	if info.Size() > maxConfig {
		return nil, sluice.Invalid(path, "is larger than %d MiB", maxConfig>>20)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, sluice.Invalid(path, "cannot be read: %s", plainCause(err))
	}
	if err := json.Unmarshal(data, c); err != nil {
		return nil, sluice.Invalid(path, "is no JSON as \"sluice login\" writes it: %v", err)
	}
	if c.Profiles == nil {
		c.Profiles = map[string]*profile{}
	}
	for name, p := range c.Profiles {
		if p == nil {
			delete(c.Profiles, name)
		}
	}
	return c, nil
}

// write replaces the file whole, readable by its owner alone.
func (c *config) write(a *app) error {
	path := configPath(a)
	if path == "" {
		return sluice.Invalid("HOME", "is not set; say with SLUICE_CONFIG in which file to keep profiles")
	}
	data, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return fmt.Errorf("make JSON of the profiles: %w", err)
	}
	dir := filepath.Dir(path)
	fail := func(err error) error { return sluice.Invalid(path, "cannot be written: %s", plainCause(err)) }
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fail(err)
	}
	f, err := os.CreateTemp(dir, ".config-*") // mode 0600
	if err != nil {
		return fail(err)
	}
	_, err = f.Write(append(data, '\n'))
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
		return fail(err)
	}
	return nil
}

// choose returns the profile of a name, or the one in use; nil if there is
// none in use.
func (c *config) choose(name string) (*profile, error) {
	if name == "" {
		return c.Profiles[c.Profile], nil
	}
	p := c.Profiles[name]
	if p == nil {
		return nil, sluice.Invalid("--profile", "there is no profile %q; sluice profiles lists them", name)
	}
	return p, nil
}
