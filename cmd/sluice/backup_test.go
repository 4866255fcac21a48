package main

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sluice/client"
	"sluice/internal/pgtest"
)

// disaster is a server with a job that has ended, one that runs and some that
// wait, all of a script of which one may run at once. It is backed up as it
// runs, killed, and set up anew from the backup.
type disaster struct {
	*place
	witness *witness
	ended   string
	open    []string // the one that runs, and those that wait
	running *net.TCPConn
}

// withPlaces are settings of both servers. The second notices soon that the
// worker of the first is lost, though not so soon that a slow machine loses its own.
var (
	withPlaces = []string{"--workers", "2", "--tags", "bash"}
	soonLost   = []string{"--stop-after", "6s", "--lost-after", "8s", "--kill-grace", "200ms", "--lost-margin", "1s"}
)

const restoredSecret = "a secret that is restored"

// prepare fills a new server.
func prepare(p *place) *disaster {
	p.t.Helper()
	d := &disaster{place: p, witness: newWitness(p.t)}
	p.saveWitnessed()
	push := func() string { return strings.TrimSpace(p.sluice(0, "run", "f/e2e/call", "-d", d.witness.args())) }
	d.ended = push()
	d.witness.release(d.witness.wait())
	d.await(p.client(), d.ended)
	for range 4 {
		d.open = append(d.open, push())
	}
	d.running = d.witness.wait() // the first of them
	return d
}

func (d *disaster) await(c *client.Client, id string) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), patience)
	defer cancel()
	if j, err := c.Await(ctx, id); err != nil || j.Success == nil || !*j.Success {
		d.t.Errorf("job %s: %+v, error %v", id, j, err)
	}
}

// restored starts a server on the restored database and sees the jobs end, one
// at a time.
func (d *disaster) restored(database ...string) {
	d.t.Helper()
	server := d.start(slices.Concat(withPlaces, soonLost, database)...)
	c := d.client() // by the token that the first server made
	if j := d.job(d.ended); j.Success == nil || !*j.Success || string(j.Result) != `"told to go"` {
		d.t.Errorf("the job that had ended is %+v", j)
	}
	if v, err := c.VariableValue(d.t.Context(), "f/e2e/kept"); err != nil || v != restoredSecret {
		d.t.Errorf("the secret is %q, error %v", v, err)
	}
	for range d.open {
		one := d.witness.wait()
		running, waiting := 0, 0
		for _, id := range d.open {
			switch j := d.job(id); {
			case j.Running:
				running++
			case j.Success == nil:
				waiting++
			}
		}
		if running != 1 {
			d.t.Errorf("%d jobs run at once, and %d wait", running, waiting)
		}
		d.witness.release(one)
	}
	for _, id := range d.open {
		d.await(c, id)
	}
	server.signal(os.Interrupt)
	if status := server.end(); status != 0 {
		d.t.Errorf("stopped with exit status %d", status)
	}
	d.mustSay(d.sluice(0, append([]string{"check-history"}, database...)...), "judged ", "all promises were kept")
}

// TestRestore restores a SQLite database from a backup that was made while its
// server worked.
func TestRestore(t *testing.T) {
	p := newPlace(t)
	server := p.start(withPlaces...)
	d := prepare(p)
	d.stdin(restoredSecret, "variable", "set", "f/e2e/kept", "--secret")
	p.mustSay(p.sluice(2, "backup", "--database", "postgres://localhost/x", "x"), "pg_dump")
	p.mustSay(p.sluice(3, "backup", "--data", "elsewhere", "x"), "cannot be opened")
	p.mustSay(p.sluice(0, "backup", "copy.db"), "Backed up data/sluice.db: ", " bytes in copy.db.")
	p.mustSay(p.sluice(6, "backup", "copy.db"), "overwrites nothing")
	server.kill()
	server.end()

	if err := os.Mkdir(filepath.Join(p.dir, "data2"), 0o700); err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{"copy.db": databaseFile, filepath.Join("data", tokenFile): tokenFile, filepath.Join("data", keyFile): keyFile} {
		if err := os.Link(filepath.Join(p.dir, from), filepath.Join(p.dir, "data2", to)); err != nil {
			t.Fatal(err)
		}
	}
	d.restored("--data", "data2")
}

// TestRestorePostgres restores a database of PostgreSQL from a dump, as the
// guide says, on the same cluster.
func TestRestorePostgres(t *testing.T) {
	p := newPlace(t)
	t.Setenv(keyEnv, strings.Repeat("0f", 32))
	old, anew := pgtest.Database(t), pgtest.Database(t)
	server := p.start(append(slices.Clone(withPlaces), "--database", old)...)
	d := prepare(p)
	d.stdin(restoredSecret, "variable", "set", "f/e2e/kept", "--secret")
	run := func(name string, args ...string) {
		t.Helper()
		cmd := exec.Command(pgtest.Client(t, name), args...)
		cmd.Dir = p.dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
	}
	run("pg_dump", "-Fc", "-d", old, "-f", "sluice.dump")
	server.kill()
	server.end()
	// Of its data folder the token is all that is kept.
	if err := os.RemoveAll(filepath.Join(p.dir, "data", "instances")); err != nil {
		t.Fatal(err)
	}
	run("pg_restore", "--no-owner", "--exit-on-error", "-d", anew, "sluice.dump")
	d.restored("--database", anew)
}
