package main

import (
	"crypto/tls"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"sluice"
)

// certificates gives the server's certificate to whoever calls, and reads it
// again when its file has changed.
type certificates struct {
	cert, key string
	log       *slog.Logger

	mu      sync.Mutex
	current *tls.Certificate
	read    time.Time // when its files were written, as far as is known
	looked  time.Time
}

// lookAgain is how long a certificate is used before its files are looked at.
const lookAgain = 10 * time.Second

// secure wraps the listener in TLS if there is a certificate, and says so if
// others can listen in.
func (v *server) secure() error {
	s := v.cmd
	if s.TLSCert == "" {
		if host, _, err := net.SplitHostPort(v.listener.Addr().String()); err == nil {
			if ip := net.ParseIP(host); ip != nil && !ip.IsLoopback() {
				v.log.Warn("listening beyond this machine without TLS: tokens and arguments can be read on the way; give --tls-cert, or put a proxy that has one before it")
			}
		}
		return nil
	}
	c := &certificates{cert: s.TLSCert, key: s.TLSKey, log: v.log}
	if err := c.load(); err != nil {
		return sluice.Invalid("--tls-cert", "cannot be used: %s", plainCause(err))
	}
	v.certificates = c
	v.listener = tls.NewListener(v.listener, &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.get(), nil },
	})
	return nil
}

func (c *certificates) load() error {
	pair, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		return err
	}
	c.current, c.read, c.looked = &pair, c.written(), time.Now()
	return nil
}

// written returns when the newer of the files was written.
func (c *certificates) written() time.Time {
	var newest time.Time
	for _, name := range []string{c.cert, c.key} {
		if info, err := os.Stat(name); err == nil && info.ModTime().After(newest) {
			newest = info.ModTime()
		}
	}
	return newest
}

func (c *certificates) get() *tls.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.looked) < lookAgain {
		return c.current
	}
	c.looked = time.Now()
	if c.written().Equal(c.read) {
		return c.current
	}
	if err := c.load(); err != nil {
		c.log.Error("read the new certificate; the old one stays in use", "error", err)
	} else {
		c.log.Info("the certificate was read anew")
	}
	return c.current
}
