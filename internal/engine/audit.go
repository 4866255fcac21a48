package engine

import (
	"context"
	"encoding/json"
	"sync/atomic"
	"time"

	"sluice/internal/store"
)

// DefaultAuditRetention is how long entries of the audit log are kept.
const DefaultAuditRetention = 365 * 24 * time.Hour

// Act is somebody's call that changes something. Whoever receives the call puts
// it into the context; the first update that is made under this context writes
// it into the audit log, in its own transaction. So no change can forget its
// entry, and no entry tells of a change that was not made.
//
// Jobs that are pushed are not acts: who pushed one is a field of the job.
type Act struct {
	Workspace  string // "": the instance as a whole
	Username   string
	Email      string
	Operation  string // such as scripts.create
	Kind       string // Create, Update, Delete or Execute
	Resource   string // what it is done to
	Address    string // from where
	Token      string // prefix of the token
	Parameters map[string]string

	recorded atomic.Bool
	idle     atomic.Bool // the update under way changed nothing
}

type actKey struct{}

// WithAct returns a context whose first update records the act.
func WithAct(ctx context.Context, a *Act) context.Context { return context.WithValue(ctx, actKey{}, a) }

// ActOf returns the act of a context, or nil.
func ActOf(ctx context.Context) *Act {
	a, _ := ctx.Value(actKey{}).(*Act)
	return a
}

// Recorded reports whether the act stands in the log.
func (a *Act) Recorded() bool { return a.recorded.Load() }

func (a *Act) entry(at time.Time) (*store.AuditEntry, error) {
	parameters := []byte("{}")
	if len(a.Parameters) > 0 {
		var err error
		if parameters, err = json.Marshal(a.Parameters); err != nil {
			return nil, err
		}
	}
	return &store.AuditEntry{
		At: at, Workspace: a.Workspace, Username: a.Username, Email: a.Email, Operation: a.Operation, Kind: a.Kind,
		Resource: a.Resource, Address: a.Address, Token: a.Token, Parameters: parameters,
	}, nil
}

// audited is a store whose updates record the act that they belong to.
type audited struct{ store.Store }

// Update implements [store.Store].
func (s audited) Update(ctx context.Context, fn func(store.Tx) error) error {
	a := ActOf(ctx)
	if a == nil || a.Recorded() {
		return s.Store.Update(ctx, fn)
	}
	err := s.Store.Update(ctx, func(tx store.Tx) error {
		a.idle.Store(false)
		if err := fn(tx); err != nil || a.idle.Load() {
			return err
		}
		entry, err := a.entry(tx.Now())
		if err != nil {
			return err
		}
		return tx.AddAudit(entry)
	})
	if err == nil && !a.idle.Load() {
		a.recorded.Store(true)
	}
	return err
}

// changedNothing says that the update under way leaves all as it was, so that
// it is not recorded.
func changedNothing(ctx context.Context) {
	if a := ActOf(ctx); a != nil {
		a.idle.Store(true)
	}
}

// Record writes an act into the log if no update has.
func (e *Engine) Record(ctx context.Context, a *Act) error {
	return e.store.Update(WithAct(ctx, a), func(store.Tx) error { return nil })
}

// AuditEntries lists entries of the audit log, newest first.
func (e *Engine) AuditEntries(ctx context.Context, f store.AuditFilter) ([]*store.AuditEntry, error) {
	return view(ctx, e, func(r store.Reader) ([]*store.AuditEntry, error) { return r.AuditEntries(f) })
}
