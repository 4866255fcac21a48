package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sluice"
	"sluice/internal/engine"
	"sluice/internal/expr"
	"sluice/internal/httpapi"
	"sluice/internal/store"
	"sluice/internal/vault"
	"sluice/internal/worker"
	"sluice/internal/worker/deps"
)

const (
	httpGrace  = 2 * time.Second // for requests under way when the server stops
	closeGrace = 5 * time.Second // for the last words to the database
)

type serverCmd struct {
	Addr       string        `help:"Address to listen on; port 0 takes a free one." default:"127.0.0.1:8000" env:"SLUICE_ADDR"`
	Data       string        `help:"Folder for the token, the database and what jobs work on." default:"./data" env:"SLUICE_DATA"`
	Database   string        `help:"Database, as sqlite:PATH or postgres://USER:PASSWORD@HOST/NAME; else sluice.db in the data folder." env:"SLUICE_DATABASE" placeholder:"URL"`
	Durability string        `help:"full: what was answered survives a loss of power; normal: a kill of the process only, and commits are faster." default:"full" enum:"full,normal" env:"SLUICE_DURABILITY"`
	Workers    int           `help:"Places for jobs of the worker inside the server; 0: no worker." default:"4" env:"SLUICE_WORKERS"`
	Tags       []string      `help:"Tags that this worker serves; \"languages\": those of all languages, and dependency." default:"languages" env:"SLUICE_TAGS"`
	Token      string        `help:"The administrator's token; else the one in the data folder, made at the first start." env:"SLUICE_TOKEN,SUPERADMIN_SECRET"`
	Seed       bool          `help:"Save the example scripts that are not there yet." env:"SLUICE_SEED"`
	Grace      time.Duration `help:"How long running jobs may go on when the server is stopped." default:"10s" env:"SLUICE_GRACE"`
	Retention  time.Duration `help:"How long ended jobs and their logs are kept." default:"720h" env:"SLUICE_RETENTION"`
	// AuditRetention and the two below it concern people.
	AuditRetention  time.Duration `help:"How long it is kept who changed what; negative: for ever." default:"8760h" env:"SLUICE_AUDIT_RETENTION"`
	SessionLifetime time.Duration `help:"How long somebody stays signed in." default:"72h" env:"SLUICE_SESSION_LIFETIME"`
	TLSCert         string        `name:"tls-cert" help:"File with the server's certificate (PEM), and those between it and the authority: serve HTTPS." env:"SLUICE_TLS_CERT" placeholder:"FILE" type:"path"`
	TLSKey          string        `name:"tls-key" help:"File with the key of that certificate (PEM)." env:"SLUICE_TLS_KEY" placeholder:"FILE" type:"path"`
	TrustProxy      bool          `help:"Believe X-Forwarded-For and X-Forwarded-Proto: only behind a proxy that sets them." env:"SLUICE_TRUST_PROXY"`
	StopAfter       time.Duration `help:"A worker that is out of touch so long ends its jobs." default:"60s" env:"SLUICE_STOP_AFTER"`
	LostAfter       time.Duration `help:"A worker that was silent so long is given up, and its jobs run again." default:"75s" env:"SLUICE_LOST_AFTER"`
	jobFlags
	KillGrace time.Duration `help:"Time between TERM and KILL." default:"5s" hidden:""`
	// LostMargin is what must lie between a worker's own stop and its loss; only tests shorten it.
	LostMargin time.Duration `default:"5s" hidden:""`
	dependencyFlags
	keyFlags
	logFlags
}

// server is a running server: its parts, in the order in which they are made.
type server struct {
	cmd      *serverCmd
	log      *slog.Logger
	listener net.Listener
	token    string
	password string // of the first administrator, if this start made it
	name     string // of this server process
	store    store.Store
	engine   *engine.Engine
	keys     *vault.Ring
	js       *expr.Pool
	lock     *instanceLock
	worker   *worker.Worker // nil without places
	api      *httpapi.API

	certificates *certificates // nil: plain HTTP
}

// Run serves until it is interrupted, then lets running jobs end.
func (s *serverCmd) Run(ctx context.Context, a *app) error {
	s.Tags = languageTags(s.Tags)
	if err := s.check(); err != nil {
		return err
	}
	v := &server{cmd: s, log: s.logger(a)}
	defer v.close()
	if err := v.open(ctx, a); err != nil {
		return err
	}
	return v.run(ctx, a)
}

func (s *serverCmd) check() error {
	const mostPlaces = 10_000
	switch {
	case s.Workers < 0 || s.Workers > mostPlaces:
		return sluice.Invalid("--workers", "must be from 0 to %s", grouped(mostPlaces))
	case s.Workers > 0 && len(s.Tags) == 0:
		return sluice.Invalid("--tags", "must name at least one tag")
	case s.SessionLifetime < time.Minute:
		return sluice.Invalid("--session-lifetime", "must be at least a minute")
	case s.Grace < 0:
		return sluice.Invalid("--grace", "must not be negative")
	case (s.TLSCert == "") != (s.TLSKey == ""):
		return sluice.Invalid("--tls-cert", "needs --tls-key, and the other way round")
	}
	return errors.Join(checkDatabase(s.Database), s.jobFlags.check(), s.dependencyFlags.check())
}

// open makes the parts. What it has made when it fails, close ends.
func (v *server) open(ctx context.Context, a *app) error {
	s := v.cmd
	if err := os.MkdirAll(s.Data, 0o700); err != nil {
		return &sluice.Error{Code: sluice.CodeInvalid, Field: "--data", Message: "the folder cannot be made: " + plainCause(err), Err: err}
	}
	var err error
	if v.token, err = keepToken(filepath.Join(s.Data, tokenFile), s.Token); err != nil {
		return err
	}
	if v.listener, err = listen(ctx, s.Addr); err != nil {
		return err
	}
	if err := v.secure(); err != nil {
		return err
	}
	if v.keys, err = s.ring(a, keyBeside(s.Database, filepath.Join(s.Data, databaseFile))); err != nil {
		return err
	}
	if v.store, err = openDatabase(ctx, s.Database, filepath.Join(s.Data, databaseFile), s.Durability, v.log); err != nil {
		return err
	}
	v.js = expr.New(expr.Options{Children: max(2, runtime.NumCPU())})
	v.engine, err = engine.New(ctx, v.store, engine.Options{
		Evaluator: expressions{v.js}, Keys: v.keys,
		StopAfter: s.StopAfter, LostAfter: s.LostAfter, Retention: s.Retention, Logger: v.log,
		KillGrace: s.KillGrace, Margin: s.LostMargin, AuditRetention: s.AuditRetention,
	})
	if err != nil {
		return err
	}
	if err := v.prepare(ctx); err != nil {
		return err
	}
	v.name = instanceName()
	if v.lock, err = lockInstance(filepath.Join(s.Data, "instances"), v.name); err != nil {
		return err
	}
	if s.Workers > 0 {
		if v.worker, err = worker.New(v.workerConfig()); err != nil {
			return err
		}
		v.log.Info("jobs are isolated", "how", v.worker.Isolation().String(), "walls", v.worker.Isolation().Walls)
	}
	v.api, err = httpapi.New(httpapi.Options{
		Engine: v.engine, Token: v.token, Version: version, BaseURL: v.url(), Logger: v.log, Instance: v.name,
		TrustProxy: s.TrustProxy, SessionLifetime: s.SessionLifetime,
	})
	return err
}

// url returns the address under which this machine reaches the server.
func (v *server) url() string {
	scheme := "http://"
	if v.certificates != nil {
		scheme = "https://"
	}
	host, port, err := net.SplitHostPort(v.listener.Addr().String())
	if err != nil {
		return scheme + v.listener.Addr().String()
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return scheme + net.JoinHostPort(host, port)
}

// jobsFolder is where the jobs of a server process work.
func (v *server) jobsFolder(instance string) string {
	return filepath.Join(v.cmd.Data, "jobs", instance)
}

func (v *server) workerConfig() worker.Config {
	s := v.cmd
	c := worker.Config{
		Name: v.name, Instance: v.name, Version: version, Tags: s.Tags, Places: s.Workers, Dir: v.jobsFolder(v.name),
		Source: v.engine, BaseURL: v.url(), StopAfter: s.StopAfter, KillGrace: s.KillGrace,
		InstanceLock: v.lock.file, Logger: v.log, Cache: s.cacheDir(s.Data), Dependencies: s.dependencies(),
	}
	s.bound(&c)
	return c
}

// prepare makes the first user, the workspace and, if asked to, the examples in it.
func (v *server) prepare(ctx context.Context) error {
	if err := v.firstKey(ctx); err != nil {
		return err
	}
	if err := v.firstAdmin(ctx); err != nil {
		return fmt.Errorf("make the first user: %w", err)
	}
	err := v.engine.CreateWorkspace(ctx, store.Workspace{ID: mainWorkspace, Name: mainWorkspace, Owner: adminEmail})
	if err != nil && sluice.CodeOf(err) != sluice.CodeConflict {
		return fmt.Errorf("make the workspace %s: %w", mainWorkspace, err)
	}
	if !v.cmd.Seed {
		return nil
	}
	n, err := seed(ctx, v.engine)
	if err != nil {
		return err
	}
	if n > 0 {
		v.log.Info("saved the examples", "number", n)
	}
	return nil
}

// run lets the parts work until ctx ends or one of them fails, and stops them
// in order: first the calls from outside, then the jobs, then the engine.
func (v *server) run(ctx context.Context, a *app) error {
	base := context.WithoutCancel(ctx)
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	engineCtx, stopEngine := context.WithCancel(base)
	defer stopEngine()
	var parts sync.WaitGroup
	parts.Go(func() {
		if err := v.engine.Run(engineCtx); engineCtx.Err() == nil {
			fail(fmt.Errorf("run the engine: it ended: %w", err))
		}
	})
	parts.Go(func() { v.lock.recover(engineCtx, v.bury, v.log) })
	drain := v.startWorker(base, fail)

	v.banner(a)
	err := serve(ctx, httpapi.NewServer(v.cmd.Addr, v.api), v.listener, httpGrace)
	v.log.Info("stopping; a second signal ends all at once", "grace", v.cmd.Grace)
	drain()
	stopEngine()
	parts.Wait()
	if cause := context.Cause(ctx); err == nil && !errors.Is(cause, context.Canceled) {
		err = cause
	}
	v.log.Info("stopped")
	return err
}

// startWorker lets the worker run and returns what ends it: it lets running
// jobs go on for the grace, and waits until all is reported.
func (v *server) startWorker(ctx context.Context, fail context.CancelCauseFunc) (drain func()) {
	if v.worker == nil {
		return func() {}
	}
	var stopping atomic.Bool
	over := make(chan error, 1)
	go func() {
		err := v.worker.Run(ctx)
		if !stopping.Load() {
			fail(fmt.Errorf("run the worker: it ended: %w", err))
		}
		over <- err
	}()
	return func() {
		stopping.Store(true)
		patience, cancel := context.WithTimeout(ctx, v.cmd.Grace)
		defer cancel()
		if err := v.worker.Drain(patience); err != nil {
			v.log.Warn("not every job had ended by itself", "reason", err)
		}
		if err := <-over; err != nil {
			v.log.Error("stop the worker", "error", err)
			return // its processes may live: others will see by the lock when they do not
		}
		last, done := context.WithTimeout(ctx, closeGrace)
		defer done()
		if err := v.engine.InstanceGone(last, v.name); err != nil {
			v.log.Warn("sign the worker off", "error", err)
		}
		v.removeJobs(v.name)
	}
}

// bury gives up what a dead server held, and removes what its jobs left.
func (v *server) bury(ctx context.Context, instance string) error {
	if err := v.engine.InstanceGone(ctx, instance); err != nil {
		return err
	}
	v.removeJobs(instance)
	return nil
}

func (v *server) removeJobs(instance string) {
	if err := deps.RemoveAll(v.jobsFolder(instance)); err != nil {
		v.log.Warn("remove the folder of jobs", "instance", instance, "error", err)
	}
}

// close ends what is open.
func (v *server) close() {
	if v.js != nil {
		v.js.Close()
	}
	if v.lock != nil {
		v.lock.release()
	}
	if v.store != nil {
		if err := v.store.Close(); err != nil {
			v.log.Error("close the database", "error", err)
		}
	}
	if v.listener != nil {
		v.listener.Close()
	}
}

// keepToken returns the administrator's token and keeps it in a file that only
// the owner may read: the one given, else the one in the file, else a new one.
func keepToken(path, given string) (string, error) {
	given = strings.TrimSpace(given)
	kept := readToken(path)
	if given == "" && kept != "" {
		return kept, os.Chmod(path, 0o600)
	}
	if given == "" {
		var b [32]byte
		rand.Read(b[:]) // never fails
		given = hex.EncodeToString(b[:])
	}
	if given == kept {
		return kept, os.Chmod(path, 0o600)
	}
	if strings.ContainsAny(given, " \t\r\n") {
		return "", sluice.Invalid("--token", "must not hold white space")
	}
	temp := path + ".new"
	if err := os.WriteFile(temp, []byte(given+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("keep the token: %w", err)
	}
	if err := os.Rename(temp, path); err != nil {
		return "", fmt.Errorf("keep the token: %w", err)
	}
	return given, nil
}
