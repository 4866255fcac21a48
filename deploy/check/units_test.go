package check

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// exposures are the most that systemd may think units exposed, of 100. The walls
// around jobs need namespaces, so units with jobs are open where the others are not.
var exposures = map[string]string{"sluice.service": "45", "sluice-worker.service": "45", "sluice-postgres.service": "20"}

// TestUnits has systemd read the units, and judge how exposed they are.
func TestUnits(t *testing.T) {
	files, err := filepath.Glob("../systemd/*")
	if err != nil || len(files) != len(exposures) {
		t.Fatalf("units: %v, error %v", files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(file)
		// The program need not be installed where this runs.
		unit := filepath.Join(t.TempDir(), name)
		with := strings.Replace(string(text), "ExecStart=/usr/local/bin/sluice ", "ExecStart=/bin/true ", 1)
		if with == string(text) {
			t.Errorf("%s starts another program", name)
		}
		if err := os.WriteFile(unit, []byte(with), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("systemd-analyze", "verify", "--man=no", unit).CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("verify %s: %v\n%s", name, err, out)
		}
		out, err := exec.Command("systemd-analyze", "security", "--no-pager", "--offline=true", "--threshold="+exposures[name], unit).CombinedOutput()
		if err != nil {
			t.Errorf("%s is too exposed: %v\n%s", name, err, out)
		}
		for _, need := range []string{"KillMode=mixed", "NoNewPrivileges=yes", "User=sluice"} {
			if !strings.Contains(string(text), "\n"+need+"\n") {
				t.Errorf("%s is without %s", name, need)
			}
		}
	}
}
