package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	tryLockEvery = 200 * time.Millisecond
	afterLock    = time.Second // between the lock and the word that all is gone
	unfinished   = "."         // files whose names begin so are being made
)

// instanceLock says, by a lock on a file, that this server or one of the
// process trees that its worker started is alive. The supervisors inherit the
// file, so that the lock outlives a server that is killed, and ends with the
// last of its jobs. Whoever then gets the lock knows that nothing of that
// server runs any more, without waiting for it to be given up.
type instanceLock struct {
	dir  string
	name string
	file *os.File
}

// instanceName draws a name for a server process: the host's and a random part.
func instanceName() string {
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "server"
	}
	host, _, _ = strings.Cut(host, ".")
	var b [4]byte
	rand.Read(b[:]) // never fails
	return strings.Trim(host, "/.") + "-" + hex.EncodeToString(b[:])
}

// lockInstance makes the file of this server and locks it. It is locked before
// it gets its name, so that nobody takes it for that of a dead server.
func lockInstance(dir, name string) (*instanceLock, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of instances: %w", err)
	}
	temp := filepath.Join(dir, unfinished+name)
	f, err := os.OpenFile(temp, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("make the file of this instance: %w", err)
	}
	l := &instanceLock{dir: dir, name: name, file: f}
	if err := tryLock(f); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock the file of this instance: %w", err)
	}
	if err := os.Rename(temp, l.path(name)); err != nil {
		f.Close()
		return nil, fmt.Errorf("name the file of this instance: %w", err)
	}
	return l, nil
}

func (l *instanceLock) path(name string) string { return filepath.Join(l.dir, name) }

func tryLock(f *os.File) error {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// release takes the file away and ends this process's part in the lock.
func (l *instanceLock) release() {
	os.Remove(l.path(l.name)) // a file that stays is taken away by the next server
	l.file.Close()
}

// recover waits for the other instances in the folder to end, says of each
// that it is gone, and takes its file away. It returns when there are no
// others, or ctx ends.
func (l *instanceLock) recover(ctx context.Context, gone func(context.Context, string) error, log *slog.Logger) {
	tick := time.NewTicker(tryLockEvery)
	defer tick.Stop()
	for {
		left, err := l.recoverOnce(ctx, gone, log)
		if err != nil {
			log.Error("look for jobs of servers that were killed", "error", err)
		} else if left == 0 {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// recoverOnce tries every other instance once and returns how many are left.
func (l *instanceLock) recoverOnce(ctx context.Context, gone func(context.Context, string) error, log *slog.Logger) (int, error) {
	entries, err := os.ReadDir(l.dir)
	if err != nil {
		return 0, fmt.Errorf("list the instances: %w", err)
	}
	left := 0
	for _, e := range entries {
		name := e.Name()
		if name == l.name || strings.HasPrefix(name, unfinished) || !e.Type().IsRegular() {
			continue
		}
		f, err := os.OpenFile(l.path(name), os.O_RDWR, 0)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return left, fmt.Errorf("open the file of an instance: %w", err)
		}
		err = l.bury(ctx, f, name, gone, log)
		f.Close()
		switch {
		case errors.Is(err, unix.EWOULDBLOCK):
			left++
		case err != nil:
			return left + 1, err
		}
	}
	return left, nil
}

func (l *instanceLock) bury(ctx context.Context, f *os.File, name string, gone func(context.Context, string) error, log *slog.Logger) error {
	if err := tryLock(f); err != nil {
		return err
	}
	wait := time.NewTimer(afterLock)
	defer wait.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-wait.C:
	}
	if err := gone(ctx, name); err != nil {
		return fmt.Errorf("give up what %s held: %w", name, err)
	}
	log.Info("a server that was killed is gone with all its jobs; they run again", "instance", name)
	return os.Remove(l.path(name))
}
