package pgtest

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

func pooler(t testing.TB) string {
	t.Helper()
	const debian = "/usr/sbin/pgbouncer" // not in everybody's PATH
	if _, err := os.Stat(debian); err == nil {
		return debian
	}
	path, err := exec.LookPath("pgbouncer")
	if err != nil {
		t.Fatalf("there is no pgbouncer (make setup installs it): %v", err)
	}
	return path
}

// Pooler starts a connection pooler, PgBouncer in transaction mode, before the
// server of a connection text, and returns the text that leads through it. It
// ends with the test.
func Pooler(t testing.TB, dsn string) string {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "sluice-pooler-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	port, err := FreePort()
	if err != nil {
		t.Fatal(err)
	}
	config := configure(t, dir, u, port)
	cmd := exec.Command(pooler(t), "-q", config)
	cmd.Dir, cmd.Env = dir, []string{"PATH=/usr/bin:/bin", "LC_ALL=C", "TZ=UTC"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: Credential(), Pdeathsig: syscall.SIGKILL}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		log.Close()
	})
	u.Host = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	for range 1500 { // half a minute
		c, err := net.Dial("tcp", u.Host)
		if err == nil {
			c.Close()
			return u.String()
		}
		<-time.After(20 * time.Millisecond)
	}
	said, _ := os.ReadFile(log.Name())
	t.Fatalf("the pooler does not answer\n%s", said)
	return ""
}

// configure writes the pooler's files, which its user may read.
func configure(t testing.TB, dir string, u *url.URL, port int) (config string) {
	t.Helper()
	config, users := filepath.Join(dir, "pgbouncer.ini"), filepath.Join(dir, "users")
	password, _ := u.User.Password()
	for path, text := range map[string]string{
		config: fmt.Sprintf(`[databases]
* = host=%s port=%s
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = plain
auth_file = %s
pool_mode = transaction
default_pool_size = 20
max_client_conn = 200
ignore_startup_parameters = extra_float_digits
`, u.Hostname(), u.Port(), port, users),
		users: fmt.Sprintf("%q %q\n", u.User.Username(), password),
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if id := Credential(); id != nil {
		for _, path := range []string{dir, config, users} {
			if err := os.Chown(path, int(id.Uid), int(id.Gid)); err != nil {
				t.Fatal(err)
			}
		}
	}
	return config
}
