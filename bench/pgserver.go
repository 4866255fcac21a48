package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"sluice/internal/engine"
	"sluice/internal/pgtest"
	"sluice/internal/store/postgres"
)

// pgConns is how many connections a server of ours has, and each peer.
const pgConns = 16

// pgSettings are the server's, beside PostgreSQL's own: as for a small machine
// of its own. Nothing is taken from what makes commits durable.
var pgSettings = []string{"fsync=on", "synchronous_commit=on", "full_page_writes=on", "shared_buffers=512MB", "max_wal_size=4GB", "max_connections=200"}

// pg is the server of this run. It starts when it is first needed.
var pg struct {
	once     sync.Once
	dir      string
	url      string // of the administrator's database
	cmd      *exec.Cmd
	done     chan struct{}
	database int
}

// postgresURL returns the URL of the server, which it starts at the first call.
func postgresURL() string {
	pg.once.Do(startPostgres)
	return pg.url
}

func startPostgres() {
	bin := check1(pgtest.Programs())
	pg.dir = check1(os.MkdirTemp("", "sluice-bench-pg-"))
	password := rand.Text()
	file := filepath.Join(pg.dir, "password")
	check(os.WriteFile(file, []byte(password), 0o600))
	id := pgtest.Credential()
	if id != nil {
		check(os.Chown(pg.dir, int(id.Uid), int(id.Gid)))
		check(os.Chown(file, int(id.Uid), int(id.Gid)))
	}
	attr := &syscall.SysProcAttr{Credential: id, Pdeathsig: syscall.SIGQUIT}
	data := filepath.Join(pg.dir, "data")
	initdb := exec.Command(filepath.Join(bin, "initdb"), "-D", data, "-U", "postgres", "-A", "scram-sha-256", "--pwfile", file, "-E", "UTF8", "--locale=C")
	initdb.Dir, initdb.SysProcAttr = pg.dir, &syscall.SysProcAttr{Credential: id}
	if out, err := initdb.CombinedOutput(); err != nil {
		panic(fmt.Sprintf("initdb: %v\n%s", err, out))
	}
	port := check1(pgtest.FreePort())
	args := []string{"-D", data, "-p", strconv.Itoa(port), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="}
	for _, s := range pgSettings {
		args = append(args, "-c", s)
	}
	if dearest {
		args = append(args, "-c", "shared_preload_libraries=pg_stat_statements", "-c", "pg_stat_statements.track=top")
	}
	pg.cmd, pg.done = exec.Command(filepath.Join(bin, "postgres"), args...), make(chan struct{})
	pg.cmd.Dir, pg.cmd.SysProcAttr = pg.dir, attr
	log := check1(os.Create(filepath.Join(pg.dir, "log")))
	pg.cmd.Stdout, pg.cmd.Stderr = log, log
	began := make(chan error)
	go func() {
		runtime.LockOSThread() // it is this thread with which the server dies
		defer close(pg.done)
		began <- pg.cmd.Start()
		_ = pg.cmd.Wait()
	}()
	check(<-began)
	pg.url = fmt.Sprintf("postgres://postgres:%s@127.0.0.1:%d/postgres?sslmode=disable", password, port)
	awaitPostgres()
	version := ""
	pgQuery(pg.url, "SHOW server_version", &version)
	fmt.Printf("PostgreSQL %s on %s file system: %s\n", version, fileSystem(pg.dir), strings.Join(pgSettings, ", "))
}

func awaitPostgres() {
	for deadline := time.Now().Add(time.Minute); ; {
		conn, err := pgx.Connect(context.Background(), pg.url)
		if err == nil {
			check(conn.Close(context.Background()))
			return
		}
		if time.Now().After(deadline) {
			panic(fmt.Sprintf("PostgreSQL does not answer: %v (its log is in %s)", err, pg.dir))
		}
		select {
		case <-pg.done:
			log, _ := os.ReadFile(filepath.Join(pg.dir, "log"))
			panic(fmt.Sprintf("PostgreSQL ended:\n%s", log))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// stopPostgres ends the server, if it was started, and takes its files away.
func stopPostgres() {
	if pg.cmd == nil {
		return
	}
	check(pg.cmd.Process.Signal(syscall.SIGQUIT))
	<-pg.done
	check(os.RemoveAll(pg.dir))
}

// newDatabase makes an empty database; the function returned drops it.
func newDatabase() (dsn string, drop func()) {
	all := postgresURL()
	pg.database++
	name := fmt.Sprintf("bench%d", pg.database)
	pgDo(all, "CREATE DATABASE "+name)
	u := check1(url.Parse(all))
	u.Path = "/" + name
	return u.String(), func() { pgDo(all, "DROP DATABASE "+name+" WITH (FORCE)") }
}

// pgDo carries out statements on a connection of their own.
func pgDo(dsn string, statements ...string) {
	ctx := context.Background()
	conn := check1(pgx.Connect(ctx, dsn))
	defer conn.Close(ctx)
	for _, s := range statements {
		check1(conn.Exec(ctx, s))
	}
}

// pgQuery reads one row on a connection of its own.
func pgQuery(dsn, query string, into ...any) {
	ctx := context.Background()
	conn := check1(pgx.Connect(ctx, dsn))
	defer conn.Close(ctx)
	check(conn.QueryRow(ctx, query).Scan(into...))
}

// inPostgres opens a world on a new database of PostgreSQL.
func inPostgres() *world { return pgWorld(engine.Options{}) }

func pgWorld(o engine.Options) *world {
	dsn, drop := newDatabase()
	w := openServer(dsn, pgConns, o)
	w.drop = drop
	return w
}

// openServer opens one server's inside on a database.
func openServer(dsn string, conns int, o engine.Options) *world {
	dir := check1(os.MkdirTemp(scratch, "world-"))
	w := newWorld(dir, check1(postgres.Open(context.Background(), dsn, postgres.Options{Logger: quiet, MaxConns: conns})), o)
	w.url = dsn
	return w
}

// pgCPU is the processor time that the server's processes have used so far.
func pgCPU() time.Duration {
	ticks := int64(0)
	for _, path := range check1(filepath.Glob("/proc/[0-9]*/stat")) {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		f := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
		n := func(i int) int64 { return check1(strconv.ParseInt(f[i], 10, 64)) }
		switch own := strings.HasPrefix(string(text), strconv.Itoa(pg.cmd.Process.Pid)+" "); {
		case own:
			ticks += n(11) + n(12) + n(13) + n(14) // those of its children that have ended, too
		case n(1) == int64(pg.cmd.Process.Pid):
			ticks += n(11) + n(12)
		}
	}
	return time.Duration(ticks) * 10 * time.Millisecond // of Linux
}

// dearest says that burn-downs print their dearest statements.
var dearest bool

// printDearest prints which statements took the server longest since
// forgetStatements, for n jobs.
func printDearest(dsn string, n int) {
	if !dearest {
		return
	}
	ctx := context.Background()
	conn := check1(pgx.Connect(ctx, dsn))
	defer conn.Close(ctx)
	rows := check1(conn.Query(ctx, `SELECT calls, total_exec_time + total_plan_time, rows, shared_blks_hit + shared_blks_read,
left(regexp_replace(query, '\s+', ' ', 'g'), 110) FROM pg_stat_statements ORDER BY 2 DESC LIMIT 25`))
	for rows.Next() {
		var calls, returned, blocks int64
		var took float64
		var text string
		check(rows.Scan(&calls, &took, &returned, &blocks, &text))
		fmt.Printf("    %7d × %8.3f ms = %6.1f µs a job, %7d rows, %6.1f blocks a call: %s\n", calls, took/float64(calls), took*1000/float64(n), returned, float64(blocks)/float64(calls), text)
	}
	check(rows.Err())
}

func forgetStatements(dsn string) {
	if dearest {
		pgDo(dsn, "CREATE EXTENSION IF NOT EXISTS pg_stat_statements", "SELECT pg_stat_statements_reset()")
	}
}

// bareCommits returns the p50 and p99 latency of transactions that change one
// row and nothing else, one after the other, on a world's database.
func (w *world) bareCommits() (p50, p99 time.Duration) {
	ctx := context.Background()
	conn := check1(pgx.Connect(ctx, w.url))
	defer conn.Close(ctx)
	check1(conn.Exec(ctx, "CREATE TABLE IF NOT EXISTS bare_commit (id int PRIMARY KEY, n bigint)"))
	check1(conn.Exec(ctx, "INSERT INTO bare_commit VALUES (1, 0) ON CONFLICT DO NOTHING"))
	var took []time.Duration
	for range 1000 {
		at := time.Now()
		check1(conn.Exec(ctx, "UPDATE bare_commit SET n = n + 1 WHERE id = 1"))
		took = append(took, time.Since(at))
	}
	return quantiles(took)
}
