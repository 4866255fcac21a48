// Package pgtest gives tests a PostgreSQL server of their own, from the system's
// programs. A test that needs one and finds none fails: it is never skipped.
package pgtest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
)

// server is the one of this process, while some test uses it.
var server struct {
	mu    sync.Mutex
	users int
	dir   string
	bin   string
	dsn   string
	start []string // arguments that start it
}

// Start returns the connection text of a server that runs until the end of the
// test; tests that run at the same time share it. It listens on the loopback
// address, asks for a password, and is not safe from crashes. The user may do all.
func Start(t testing.TB) (dsn string) {
	t.Helper()
	server.mu.Lock()
	defer server.mu.Unlock()
	if server.users == 0 {
		if err := start(); err != nil {
			t.Fatalf("start PostgreSQL (make setup installs it): %v", err)
		}
	}
	server.users++
	t.Cleanup(func() {
		server.mu.Lock()
		defer server.mu.Unlock()
		if server.users--; server.users == 0 {
			if err := stop(); err != nil {
				t.Errorf("stop PostgreSQL: %v", err)
			}
		}
	})
	return server.dsn
}

// Database returns the connection text of an empty database, which is dropped at
// the end of the test.
func Database(t testing.TB) (dsn string) {
	t.Helper()
	all := Start(t)
	name := "t" + strings.ToLower(rand.Text())
	Execute(t, all, "CREATE DATABASE "+name)
	t.Cleanup(func() { Execute(t, all, "DROP DATABASE "+name+" WITH (FORCE)") })
	u, err := url.Parse(all)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + name
	return u.String()
}

// Execute carries out one statement.
func Execute(t testing.TB, dsn, statement string) {
	t.Helper()
	ctx := context.Background() // that of a test has ended when it cleans up
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, statement); err != nil {
		t.Fatal(err)
	}
}

func start() (err error) {
	if server.bin, err = Programs(); err != nil {
		return err
	}
	if server.dir, err = os.MkdirTemp("", "sluice-pg-"); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.RemoveAll(server.dir)
		}
	}()
	password := rand.Text()
	file := filepath.Join(server.dir, "password")
	if err := os.WriteFile(file, []byte(password), 0o600); err != nil {
		return err
	}
	if id := Credential(); id != nil {
		for _, path := range []string{server.dir, file} {
			if err := os.Chown(path, int(id.Uid), int(id.Gid)); err != nil {
				return err
			}
		}
	}
	data := filepath.Join(server.dir, "data")
	if err := run("initdb", "-D", data, "-U", "postgres", "-A", "scram-sha-256", "--pwfile", file, "-E", "UTF8", "--locale=C", "--no-sync"); err != nil {
		return err
	}
	port, err := FreePort()
	if err != nil {
		return err
	}
	options := fmt.Sprintf("-p %d -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off -c full_page_writes=off -c synchronous_commit=off -c max_connections=200", port)
	server.dsn = fmt.Sprintf("postgres://postgres:%s@127.0.0.1:%d/postgres?sslmode=disable", password, port)
	server.start = []string{"-D", data, "-o", options, "-l", filepath.Join(server.dir, "log"), "-w", "start"}
	return run("pg_ctl", server.start...)
}

// Restart ends the server of [Start] as a crash would, in the middle of
// whatever it does, and starts it again on the same port. What it had committed
// is there only in databases with synchronous_commit on.
func Restart(t testing.TB) {
	t.Helper()
	server.mu.Lock()
	defer server.mu.Unlock()
	if err := run("pg_ctl", "-D", filepath.Join(server.dir, "data"), "-m", "immediate", "-w", "stop"); err != nil {
		t.Fatalf("crash PostgreSQL: %v", err)
	}
	if err := run("pg_ctl", server.start...); err != nil {
		t.Fatalf("start PostgreSQL again: %v", err)
	}
}

func stop() error {
	err := run("pg_ctl", "-D", filepath.Join(server.dir, "data"), "-m", "immediate", "-w", "stop")
	return errors.Join(err, os.RemoveAll(server.dir))
}

// Programs returns the folder of the newest server programs of the system.
func Programs() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/pg_ctl")
	if err != nil {
		return "", err
	}
	if len(found) == 0 {
		path, err := exec.LookPath("pg_ctl")
		if err != nil {
			return "", errors.New("there is no pg_ctl in /usr/lib/postgresql/*/bin nor in PATH")
		}
		return filepath.Dir(path), nil
	}
	version := func(path string) int {
		n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path)))) // no number: the oldest
		return n
	}
	return filepath.Dir(slices.MaxFunc(found, func(a, b string) int { return version(a) - version(b) })), nil
}

// Credential is that of the user postgres, if the tests run as root: the server
// refuses to.
func Credential() *syscall.Credential {
	if os.Geteuid() != 0 {
		return nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil // the server will say what it thinks of that
	}
	uid, err1 := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	if err1 != nil || err2 != nil {
		return nil
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

func run(name string, args ...string) error {
	cmd := exec.Command(filepath.Join(server.bin, name), args...)
	cmd.Dir = server.dir
	cmd.Env = []string{"PATH=/usr/bin:/bin", "LC_ALL=C", "TZ=UTC"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: Credential()}
	out, err := os.CreateTemp("", "sluice-pg-out-") // a pipe would stay open with the server
	if err != nil {
		return err
	}
	defer os.Remove(out.Name())
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		said, _ := os.ReadFile(out.Name())
		log, _ := os.ReadFile(filepath.Join(server.dir, "log"))
		return fmt.Errorf("%s: %w\n%s%s", name, err, said, log)
	}
	return nil
}

// FreePort returns a port of the loopback address that nobody listens on now.
func FreePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// Client returns the path of a client program of the same version, such as
// pg_dump, for a test that uses a server of [Start].
func Client(t testing.TB, name string) string {
	t.Helper()
	bin, err := Programs()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(bin, name)
}
