package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"sluice"
	"sluice/client"
	"sluice/internal/worker"
	"sluice/internal/worker/deps"
)

type workerCmd struct {
	Server    []string      `help:"Address of the server; several, separated by commas, if there are." required:"" sep:"," env:"SLUICE_URL" placeholder:"URL"`
	Token     string        `help:"Token with the scope workers:write of an administrator of the instance. Better in the environment or a file: others see the command line." env:"SLUICE_WORKER_TOKEN" placeholder:"TOKEN"`
	TokenFile string        `help:"File that holds the token." env:"SLUICE_WORKER_TOKEN_FILE" placeholder:"FILE" type:"path"`
	CA        string        `name:"ca" help:"File with certificates (PEM) of who vouches for the server, beside the system's." env:"SLUICE_CA" placeholder:"FILE" type:"path"`
	Data      string        `help:"Folder for what jobs work on and for packages." default:"./worker-data" env:"SLUICE_DATA"`
	Places    int           `help:"Jobs at a time." default:"4" env:"SLUICE_PLACES"`
	Tags      []string      `help:"Tags that this worker serves; \"languages\": those of all languages, and dependency." default:"languages" env:"SLUICE_TAGS"`
	Group     string        `help:"Worker group, for people." default:"default" env:"SLUICE_WORKER_GROUP"`
	Grace     time.Duration `help:"How long running jobs may go on when the worker is stopped." default:"10s" env:"SLUICE_GRACE"`
	jobFlags
	dependencyFlags
	logFlags
}

// remoteWorker is a running worker whose server is elsewhere.
type remoteWorker struct {
	cmd    *workerCmd
	log    *slog.Logger
	source *client.Work
	name   string
	lock   *instanceLock
	worker *worker.Worker
}

// Run works until it is interrupted, then lets running jobs end.
func (w *workerCmd) Run(ctx context.Context, a *app) error {
	w.Tags = languageTags(w.Tags)
	if err := w.check(); err != nil {
		return err
	}
	r := &remoteWorker{cmd: w, log: w.logger(a)}
	if err := r.open(ctx); err != nil {
		return err
	}
	defer r.lock.release()
	fmt.Fprintf(a.err, "Worker %s serves %s with %d places.\n", r.name, r.source.URL(), w.Places)
	return r.run(ctx)
}

func (w *workerCmd) check() error {
	const mostPlaces = 10_000
	switch {
	case w.Places < 1 || w.Places > mostPlaces:
		return sluice.Invalid("--places", "must be from 1 to %s", grouped(mostPlaces))
	case len(w.Tags) == 0:
		return sluice.Invalid("--tags", "must name at least one tag")
	case w.Grace < 0:
		return sluice.Invalid("--grace", "must not be negative")
	case len(w.Group) > 100:
		return sluice.Invalid("--group", "must have at most 100 characters")
	}
	return errors.Join(w.jobFlags.check(), w.dependencyFlags.check())
}

// token returns the token, from wherever it is given.
func (w *workerCmd) token() (string, error) {
	if w.TokenFile == "" {
		if w.Token == "" {
			return "", sluice.Invalid("--token-file", "give a token: make one with \"sluice token create --scope workers:write\"")
		}
		return w.Token, nil
	}
	b, err := os.ReadFile(w.TokenFile)
	if err != nil {
		return "", sluice.Invalid("--token-file", "cannot be read: %s", plainCause(err))
	}
	token := strings.TrimSpace(string(b))
	if token == "" {
		return "", sluice.Invalid("--token-file", "is empty")
	}
	return token, nil
}

// connect makes what speaks to the servers.
func (w *workerCmd) connect() (*client.Work, error) {
	token, err := w.token()
	if err != nil {
		return nil, err
	}
	t := workTransport(silence)
	if w.CA != "" {
		pem, err := os.ReadFile(w.CA)
		if err != nil {
			return nil, sluice.Invalid("--ca", "cannot be read: %s", plainCause(err))
		}
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool()
		}
		if !pool.AppendCertsFromPEM(pem) {
			return nil, sluice.Invalid("--ca", "holds no certificate in PEM form")
		}
		t.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	return client.NewWork(w.Server, client.Config{Token: token, Agent: "sluice-worker/" + version, HTTP: &http.Client{Transport: t}})
}

// silence is how long a connection to a server may say nothing before it is
// asked whether it still lives, and then how long before it is given up.
const silence = 5 * time.Second

// workTransport makes what carries a worker's calls. Over TLS they share one
// connection: one that died without a word must not hold up all of them until
// each has run out of time.
func workTransport(silence time.Duration) *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.DialContext = (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 15 * time.Second}).DialContext
	t.ResponseHeaderTimeout = time.Minute // longer than any call waits
	t.MaxIdleConnsPerHost = 32
	t.HTTP2 = &http.HTTP2Config{SendPingTimeout: silence, PingTimeout: silence}
	return t
}

func (r *remoteWorker) open(ctx context.Context) error {
	w := r.cmd
	var err error
	if r.source, err = w.connect(); err != nil {
		return err
	}
	if err := os.MkdirAll(w.Data, 0o700); err != nil {
		return &sluice.Error{Code: sluice.CodeInvalid, Field: "--data", Message: "the folder cannot be made: " + plainCause(err), Err: err}
	}
	terms, err := r.terms(ctx)
	if err != nil {
		return err
	}
	if terms.Version != version {
		r.log.Warn("the server has another version; that is meant for the time of an upgrade", "server", terms.Version, "worker", version)
	}
	r.name = instanceName()
	if r.lock, err = lockInstance(filepath.Join(w.Data, "instances"), r.name); err != nil {
		return err
	}
	c := worker.Config{
		Name: r.name, Instance: r.name, Group: w.Group, Version: version, Tags: w.Tags, Places: w.Places, Dir: r.jobsFolder(r.name),
		Source: r.source, NewestURL: r.source.URL, StopAfter: terms.StopAfter, KillGrace: terms.KillGrace,
		InstanceLock: r.lock.file, Logger: r.log, Cache: w.cacheDir(w.Data), Dependencies: w.dependencies(),
	}
	w.bound(&c)
	if r.worker, err = worker.New(c); err != nil {
		r.lock.release()
		return err
	}
	r.log.Info("jobs are isolated", "how", r.worker.Isolation().String(), "walls", r.worker.Isolation().Walls)
	return nil
}

// terms asks the servers for their terms until one answers. A server that
// refuses ends the attempt.
func (r *remoteWorker) terms(ctx context.Context) (client.WorkTerms, error) {
	const pause = time.Second
	for n := 0; ; n++ {
		t, err := r.source.Terms(ctx)
		switch {
		case err == nil && (t.StopAfter <= 0 || t.KillGrace <= 0):
			return t, sluice.Errorf(sluice.CodeInvalid, "%s did not answer as a Sluice server of this version does", r.source.URL())
		case err == nil || sluice.CodeOf(err) != sluice.CodeUnavailable:
			return t, err
		case errors.As(err, new(*tls.CertificateVerificationError)):
			return t, &sluice.Error{Code: sluice.CodeInvalid, Field: "--ca", Message: "nobody vouches for the certificate of " + r.source.URL() + ": " + plainCause(err), Err: err}
		case n == 0:
			r.log.Warn("no server answers; trying on", "error", err)
		}
		wait := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			wait.Stop()
			return t, ctx.Err()
		case <-wait.C:
		}
	}
}

func (r *remoteWorker) jobsFolder(instance string) string {
	return filepath.Join(r.cmd.Data, "jobs", instance)
}

// bury tells the server that a worker that was killed here has nothing left
// that runs, and removes what its jobs left.
func (r *remoteWorker) bury(ctx context.Context, instance string) error {
	if err := r.source.Gone(ctx, instance); err != nil {
		return err
	}
	r.removeJobs(instance)
	return nil
}

func (r *remoteWorker) removeJobs(instance string) {
	if err := deps.RemoveAll(r.jobsFolder(instance)); err != nil {
		r.log.Warn("remove the folder of jobs", "instance", instance, "error", err)
	}
}

func (r *remoteWorker) run(ctx context.Context) error {
	base := context.WithoutCancel(ctx)
	recovery, stop := context.WithCancel(base)
	var parts sync.WaitGroup
	defer parts.Wait()
	defer stop()
	parts.Go(func() { r.lock.recover(recovery, r.bury, r.log) })
	over := make(chan error, 1)
	go func() { over <- r.worker.Run(base) }()
	select {
	case err := <-over:
		return fmt.Errorf("run the worker: it ended: %w", err)
	case <-ctx.Done():
	}
	r.log.Info("stopping; a second signal ends all at once", "grace", r.cmd.Grace)
	patience, cancel := context.WithTimeout(base, r.cmd.Grace)
	defer cancel()
	if err := r.worker.Drain(patience); err != nil {
		r.log.Warn("not every job had ended by itself", "reason", err)
	}
	if err := <-over; err != nil {
		return fmt.Errorf("stop the worker: %w", err) // its processes may live: others will see by the lock when they do not
	}
	last, done := context.WithTimeout(base, closeGrace)
	defer done()
	if err := r.source.Gone(last, r.name); err != nil {
		r.log.Warn("sign the worker off", "error", err)
	}
	r.removeJobs(r.name)
	r.log.Info("stopped")
	return nil
}
