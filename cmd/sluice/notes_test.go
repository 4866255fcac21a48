package main

import (
	"slices"
	"testing"
)

// A slip of the pen in a setting is told, what Windmill writes is not.
func TestNotesOn(t *testing.T) {
	for _, tt := range []struct {
		name     string
		settings string
		want     []string
	}{
		{"none", "summary: x", nil},
		{"right", "concurrent_limit: 3\nconcurrency_time_window_s: 60\nconcurrency_key: a\ntag: x", nil},
		{"a slip", "concurent_limit: 3", []string{"concurent_limit is no setting and has no effect; is concurrent_limit meant?"}},
		{"two letters", "concurrency_time_window: 3\nconcurrent_limit: 1", []string{"concurrency_time_window is no setting and has no effect; is concurrency_time_window_s meant?"}},
		{"a window alone", "concurrency_time_window_s: 3", []string{"concurrency_time_window_s has no effect without concurrent_limit: the script has no limit"}},
		{"of Windmill", "no_main_func: true\nis_template: false\nextra_perms: {}\nassets: []\nstarred: false\ndraft_only: false\nconcurrency_key: ''\nenvs: []", nil},
		{"inert", "cache_ttl: 60\nws_error_handler_muted: false", []string{"cache_ttl has no effect here"}},
	} {
		settings, err := decodeYAML(tt.settings)
		if err != nil {
			t.Fatal(err)
		}
		if got := notesOn(settings); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q", tt.name, got)
		}
	}
}
