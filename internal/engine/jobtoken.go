package engine

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"

	"sluice"
	"sluice/internal/store"
)

// JobTokenPrefix begins every job's token, and no other.
const JobTokenPrefix = "sj_"

// jobKeyName is the secret that signs job tokens.
const jobKeyName = "job_token"

// JobCaller is the job that a token speaks for, and whose rights it has.
type JobCaller struct {
	Execution int64
	JobID     string
	Workspace string
	ParentJob string
	RootJob   string
	Username  string // who pushed the job
	Email     string
}

// jobToken names one execution: sj_<execution>_<attempt>_<MAC of both>. Nothing
// is stored for it: whether it lives is whether the execution holds its slot.
func jobToken(key []byte, execution int64, attempt int) string {
	name := strconv.FormatInt(execution, 10) + "_" + strconv.Itoa(attempt)
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(name))
	return JobTokenPrefix + name + "_" + hex.EncodeToString(mac.Sum(nil))
}

// parseJobToken returns what a token says it names.
func parseJobToken(token string) (execution int64, attempt int, ok bool) {
	rest, ok := strings.CutPrefix(token, JobTokenPrefix)
	parts := strings.Split(rest, "_")
	if !ok || len(parts) != 3 {
		return 0, 0, false
	}
	execution, err := strconv.ParseInt(parts[0], 10, 64)
	attempt, err2 := strconv.Atoi(parts[1])
	return execution, attempt, err == nil && err2 == nil
}

// jobKey returns the key within a transaction, and draws it in the first that
// needs it. It is remembered only once that transaction is committed.
func (u *unit) jobKey() ([]byte, error) {
	if k := u.e.jobKey.Load(); k != nil {
		return *k, nil
	}
	if u.key != nil {
		return u.key, nil
	}
	key, err := u.tx.Secret(jobKeyName)
	if errors.Is(err, store.ErrNotFound) {
		key = make([]byte, sha256.Size)
		_, _ = rand.Read(key)                                                        // never fails
		if err = u.tx.SaveSecret(jobKeyName, key); errors.Is(err, store.ErrExists) { // another server was first
			key, err = u.tx.Secret(jobKeyName)
		}
	}
	if err != nil {
		return nil, err
	}
	u.key = key
	return key, nil
}

// committed remembers the key of a transaction that is committed.
func (u *unit) committed() {
	if u.key != nil {
		u.e.jobKey.Store(&u.key)
	}
}

var errDeadToken = sluice.Errorf(sluice.CodeUnauthorized, "the job's token is unknown, or the job that it was made for has ended")

// CheckJobToken returns the execution that a token was made for, whether or
// not that still runs. It does not read the store. Unauthorized: this server
// made no such token.
func (e *Engine) CheckJobToken(ctx context.Context, token string) (int64, error) {
	execution, attempt, ok := parseJobToken(token)
	if !ok {
		return 0, errDeadToken
	}
	key := e.jobKey.Load()
	if key == nil { // since the start nothing was handed out
		stored, err := view(ctx, e, func(r store.Reader) ([]byte, error) { return r.Secret(jobKeyName) })
		if errors.Is(err, store.ErrNotFound) {
			return 0, errDeadToken
		}
		if err != nil {
			return 0, err
		}
		key = &stored
		e.jobKey.Store(key)
	}
	if subtle.ConstantTimeCompare([]byte(token), []byte(jobToken(*key, execution, attempt))) != 1 {
		return 0, errDeadToken
	}
	return execution, nil
}

// JobCaller returns the job that a token speaks for. The token lives as long
// as its execution holds its slot and its job has not ended: it is dead from
// the commit that records an end, a loss or a cancel by force. Unauthorized:
// it is dead, or was never made here.
func (e *Engine) JobCaller(ctx context.Context, token string) (*JobCaller, error) {
	execution, err := e.CheckJobToken(ctx, token)
	if err != nil {
		return nil, err
	}
	return view(ctx, e, func(r store.Reader) (*JobCaller, error) {
		x, err := r.Execution(execution)
		if errors.Is(err, store.ErrNotFound) || err == nil && !x.Held() {
			return nil, errDeadToken
		} else if err != nil {
			return nil, err
		}
		j, err := r.JobBySeq(x.JobSeq)
		if errors.Is(err, store.ErrNotFound) || err == nil && (j.State != sluice.StateRunning || j.Attempt != x.Attempt) {
			return nil, errDeadToken
		} else if err != nil {
			return nil, err
		}
		return &JobCaller{
			Execution: x.ID, JobID: j.ID, Workspace: j.Workspace, ParentJob: j.ParentJob, RootJob: j.RootJob,
			Username: j.CreatedBy, Email: j.Email,
		}, nil
	})
}
