package check

import (
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
)

// TestCompose loads the compose file as Compose does: against its schema, with
// variables, anchors and names resolved.
func TestCompose(t *testing.T) {
	load := func(env types.Mapping) (*types.Project, error) {
		return loader.LoadWithContext(t.Context(), types.ConfigDetails{
			WorkingDir:  "../compose",
			ConfigFiles: []types.ConfigFile{{Filename: "../compose/compose.yaml"}},
			Environment: env,
		})
	}
	env := types.Mapping{"POSTGRES_PASSWORD": "pass-word", "SLUICE_TOKEN": "the-token"}
	for missing := range env {
		less := types.Mapping{"POSTGRES_PASSWORD": "p", "SLUICE_TOKEN": "t"}
		delete(less, missing)
		if _, err := load(less); err == nil || !strings.Contains(err.Error(), "choose one") {
			t.Errorf("without %s: %v", missing, err)
		}
	}
	p, err := load(env)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"db", "server-1", "server-2", "worker"}; !slices.Equal(slices.Sorted(slices.Values(p.ServiceNames())), want) {
		t.Fatalf("services: %v", p.ServiceNames())
	}
	for name, s := range p.Services {
		if s.Privileged || s.User == "root" || len(s.CapAdd) > 0 {
			t.Errorf("%s has rights that it does not need", name)
		}
		for _, port := range s.Ports {
			if port.HostIP != "127.0.0.1" {
				t.Errorf("%s is open to the network, without TLS: %+v", name, port)
			}
		}
		if name == "db" {
			continue
		}
		if !s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"}) || !slices.Contains(s.SecurityOpt, "no-new-privileges:true") {
			t.Errorf("%s is not shut: %+v", name, s)
		}
		server := strings.HasPrefix(name, "server")
		database, token := s.Environment["SLUICE_DATABASE"], s.Environment["SLUICE_WORKER_TOKEN"]
		switch {
		case server && (database == nil || !strings.Contains(*database, ":pass-word@db:5432/") || s.HealthCheck == nil):
			t.Errorf("%s: database %v, health check %v", name, database, s.HealthCheck)
		case !server && (database != nil || token == nil || *token != "the-token"):
			t.Errorf("%s: database %v, token %v", name, database, token)
		}
	}
}
