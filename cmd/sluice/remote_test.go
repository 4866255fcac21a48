package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sluice/client"
)

// authority makes certificates in a folder.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	a.cert, a.key = a.issue(name, nil)
	return a
}

// issue makes a certificate for this machine, signed by the authority, or the
// authority's own, and returns it with its key.
func (a *authority) issue(name string, sign *authority) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	made := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, BasicConstraintsValid: true,
	}
	parent, signer := made, key
	if sign == nil {
		made.IsCA, made.KeyUsage = true, x509.KeyUsageCertSign
	} else {
		parent, signer = sign.cert, sign.key
	}
	der, err := x509.CreateCertificate(rand.Reader, made, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	raw, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{name + ".crt": {Type: "CERTIFICATE", Bytes: der}, name + ".key": {Type: "EC PRIVATE KEY", Bytes: raw}} {
		if err := os.WriteFile(filepath.Join(a.dir, file), pem.EncodeToMemory(block), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, key
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name) }

// remoteWorker starts a worker process and does not wait for it.
func (p *place) worker(token string, args ...string) *instance {
	p.t.Helper()
	s := &instance{t: p.t, cmd: exec.Command(p.binary, append([]string{"worker"}, args...)...)}
	s.cmd.Dir = p.dir
	s.cmd.Stderr = &s.logs
	s.cmd.Env = append(os.Environ(), "SLUICE_WORKER_TOKEN="+token)
	if err := s.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() {
		if s.cmd.ProcessState == nil {
			s.kill()
			_ = s.cmd.Wait() // it was killed
		}
		if p.t.Failed() {
			p.t.Logf("log of a worker:\n%s", &s.logs)
		}
	})
	return s
}

// workers waits until as many workers are heard of.
func (p *place) workers(c *client.Client, n int) []client.Worker {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		list, err := c.Workers(ctx, 5*time.Second)
		if err == nil && len(list) == n {
			return list
		}
		select {
		case <-ctx.Done():
			p.t.Fatalf("there are %d workers, not %d: %v", len(list), n, err)
		case <-tick.C:
		}
	}
}

func (p *place) client() *client.Client {
	p.t.Helper()
	token, err := os.ReadFile(filepath.Join(p.dir, "data", tokenFile))
	if err != nil {
		p.t.Fatal(err)
	}
	c, err := client.New(client.Config{URL: p.url, Token: strings.TrimSpace(string(token))})
	if err != nil {
		p.t.Fatal(err)
	}
	return c
}

var shortLease = []string{"--workers", "0", "--stop-after", "2s", "--lost-after", "4s", "--kill-grace", "200ms", "--lost-margin", "1s"}

// TestRemoteWorkers has two workers on "other machines" serve one server,
// through its death and that of one of them.
func TestRemoteWorkers(t *testing.T) {
	p := newPlace(t)
	addr := freeAddress(t)
	args := append(slices.Clone(shortLease), "--addr", addr)
	server := p.start(args...)
	c := p.client()
	token, err := c.CreateToken(t.Context(), client.NewToken{Label: "workers", Scopes: []string{"workers:write"}})
	if err != nil {
		t.Fatal(err)
	}
	one := p.worker(token, "--server", p.url, "--data", "one", "--places", "2", "--group", "gpu", "--tags", "bash")
	two := p.worker(token, "--server", p.url, "--data", "two", "--places", "2", "--tags", "bash")
	groups := map[string]bool{}
	for _, w := range p.workers(c, 2) {
		groups[w.Group] = true
	}
	if !groups["gpu"] || !groups["default"] {
		t.Errorf("groups: %v", groups)
	}
	witness := newWitness(t)
	p.saveWitnessed()
	first := strings.TrimSpace(p.sluice(0, "run", "f/e2e/call", "-d", witness.args()))
	second := strings.TrimSpace(p.sluice(0, "run", "f/e2e/call", "-d", witness.args()))
	held := witness.wait()
	// The server dies while a job runs. Its workers go on, and it hears of the
	// job's end when it is back.
	server.kill()
	_ = server.cmd.Wait() // it was killed
	witness.release(held)
	witness.gone(held)
	server = p.start(args...)
	held = witness.wait()
	if j := p.job(first); j.Success == nil || !*j.Success {
		t.Errorf("the first job: %+v", j)
	}
	// The worker that runs the second job dies: its job dies with it, and is
	// run again by the other one.
	victim, other := one, two
	if strings.HasPrefix(p.job(second).Worker, p.nameOf(two)) {
		victim, other = two, one
	}
	victim.kill()
	_ = victim.cmd.Wait() // it was killed
	witness.gone(held)
	held = witness.wait()
	witness.release(held)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if j, err := p.client().Await(ctx, second); err != nil || j.Success == nil || !*j.Success || j.Worker != p.nameOf(other) {
		t.Errorf("the second job: %+v %v", j, err)
	}
	other.signal(syscall.SIGTERM)
	if status := other.end(); status != 0 {
		t.Errorf("the worker ended with status %d", status)
	}
	server.signal(syscall.SIGTERM)
	server.end()
	p.mustSay(p.sluice(0, "check-history", "--database", "sqlite:data/sluice.db"), "all promises were kept")
}

// nameOf returns the name of a worker, from what it says at its start.
func (p *place) nameOf(s *instance) string {
	p.t.Helper()
	_, rest, _ := strings.Cut(s.logs.String(), "Worker ")
	name, _, _ := strings.Cut(rest, " ")
	return name
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// TestRemoteWorkerRefused: who may not work for a server is told so, and ends.
func TestRemoteWorkerRefused(t *testing.T) {
	p := newPlace(t)
	right, wrong := newAuthority(t, "authority"), newAuthority(t, "stranger")
	right.issue("server", right)
	p.start("--workers", "0", "--tls-cert", right.file("server.crt"), "--tls-key", right.file("server.key"))
	if !strings.HasPrefix(p.url, "https://") {
		t.Fatalf("the server says that it is at %s", p.url)
	}
	token, err := os.ReadFile(filepath.Join(p.dir, "data", tokenFile))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, token, ca, want string }{
		{"no token that is known", "nonsense", "authority.crt", "token"},
		{"no token", "", "authority.crt", "token"},
		{"no file", string(token), "nothing.crt", "cannot be read"},
		{"no certificate", string(token), "server.key", "no certificate"},
	} {
		s := p.worker(strings.TrimSpace(c.token), "--server", p.url, "--ca", right.file(c.ca), "--data", "w")
		if status := s.end(); status == 0 || !strings.Contains(s.logs.String(), c.want) {
			t.Errorf("%s: status %d\n%s", c.name, status, &s.logs)
		}
	}
	// A server whom nobody vouches for is not spoken to.
	s := p.worker(strings.TrimSpace(string(token)), "--server", p.url, "--ca", wrong.file("stranger.crt"), "--data", "w")
	if status := s.end(); status == 0 || !strings.Contains(s.logs.String(), "nobody vouches for the certificate") {
		t.Errorf("a stranger's certificate: status %d\n%s", status, &s.logs)
	}
	// With the right ones it works.
	ok := p.worker(strings.TrimSpace(string(token)), "--server", p.url, "--ca", right.file("authority.crt"), "--data", "w2", "--tags", "bash")
	waitFor(t, func() bool { return strings.Contains(ok.logs.String(), "serves https://") })
}

// cutter is a proxy that breaks connections off when it is told to.
type cutter struct {
	proxy *httputil.ReverseProxy
	l     net.Listener
	mu    sync.Mutex
	down  bool
}

func newCutter(t *testing.T, target string) *cutter {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{proxy: httputil.NewSingleHostReverseProxy(u), l: l}
	c.proxy.ErrorLog = log.New(io.Discard, "", 0)
	srv := &http.Server{Handler: c, ReadHeaderTimeout: time.Minute}
	go srv.Serve(l) //nolint:errcheck // closed at the end
	t.Cleanup(func() { srv.Close() })
	return c
}

func (c *cutter) set(down bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.down = down
}

// ServeHTTP passes a call on and, while it is cut, loses the answer.
func (c *cutter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	down := c.down
	c.mu.Unlock()
	if !down {
		c.proxy.ServeHTTP(w, r)
		return
	}
	c.proxy.ServeHTTP(discard{}, r) // the server has heard it; whoever asked never hears of that
	if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
		conn.Close()
	}
}

type discard struct{}

func (discard) Header() http.Header         { return http.Header{} }
func (discard) Write(b []byte) (int, error) { return io.Discard.Write(b) }
func (discard) WriteHeader(int)             {}

// TestRemoteWorkerHandsOver: answers that are lost are asked for again, by way
// of another server if there is one, and nothing is done twice.
func TestRemoteWorkerHandsOver(t *testing.T) {
	p := newPlace(t)
	p.start(shortLease...)
	c := p.client()
	token, err := c.CreateToken(t.Context(), client.NewToken{Scopes: []string{"workers:write"}})
	if err != nil {
		t.Fatal(err)
	}
	way, other := newCutter(t, p.url), newCutter(t, p.url)
	p.worker(token, "--server", "http://"+way.l.Addr().String()+",http://"+other.l.Addr().String(), "--data", "w", "--places", "2", "--tags", "bash")
	p.workers(c, 1)
	witness := newWitness(t)
	p.saveWitnessed()
	var ids []string
	for range 3 {
		ids = append(ids, strings.TrimSpace(p.sluice(0, "run", "f/e2e/call", "-d", witness.args())))
	}
	held := witness.wait()
	way.set(true) // from now on this way loses all answers
	witness.release(held)
	held = witness.wait()
	way.set(false)
	other.set(true)
	witness.release(held)
	held = witness.wait()
	witness.release(held)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, id := range ids {
		if j, err := c.Await(ctx, id); err != nil || j.Success == nil || !*j.Success {
			t.Errorf("%+v %v", j, err)
		}
	}
	// What jobs call is the server that the worker speaks to now.
	where := filepath.Join(p.dir, "scripts", "f", "e2e", "where.sh")
	if err := os.WriteFile(where, []byte("echo \"$BASE_INTERNAL_URL\"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	p.mustSay(p.sluice(0, "push", "scripts"), "f/e2e/where")
	j, err := c.Await(ctx, strings.TrimSpace(p.sluice(0, "run", "f/e2e/where")))
	if err != nil || string(j.Result) != `"http://`+way.l.Addr().String()+`"` {
		t.Errorf("a job calls %s, %v; the server that answers is at %s", j.Result, err, way.l.Addr())
	}
}

func waitFor(t *testing.T, f func() bool) {
	t.Helper()
	late := time.NewTimer(patience)
	defer late.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !f() {
		select {
		case <-late.C:
			t.Fatal("it does not come to pass")
		case <-tick.C:
		}
	}
}
