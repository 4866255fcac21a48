package httpapi

import (
	"context"
	"time"

	"sluice"
)

// WorkProtocol numbers what workers and servers say to each other. A server
// answers workers of its own number; fields that it does not know it ignores,
// so that a number outlives versions.
const WorkProtocol = 1

// ProtocolIn is sent with every call of a worker.
type ProtocolIn struct {
	Protocol int `header:"X-Sluice-Worker" doc:"Version of the workers' protocol"`
}

func (p ProtocolIn) check() error {
	if p.Protocol != WorkProtocol {
		return sluice.Invalid("X-Sluice-Worker", "this server speaks version %d of the workers' protocol, not %d; run workers of the server's version", WorkProtocol, p.Protocol)
	}
	return nil
}

// termsJSON are what a worker must know to keep its part of the contract.
type termsJSON struct {
	Protocol    int    `json:"protocol"`
	Version     string `json:"version"`
	StopAfterMS int64  `json:"stop_after_ms" doc:"A worker that is out of touch so long ends its jobs"`
	KillGraceMS int64  `json:"kill_grace_ms" doc:"Time between TERM and KILL"`
}

// errorJSON is an error of one item of a call.
type errorJSON struct {
	Code    sluice.Code `json:"code"`
	Message string      `json:"message"`
}

func itemErrors(errs []error) []*errorJSON {
	out := make([]*errorJSON, len(errs))
	for i, err := range errs {
		if err != nil {
			out[i] = &errorJSON{Code: sluice.CodeOf(err), Message: message(err)}
		}
	}
	return out
}

// message tells an error to a worker; what is inside the server stays in its log.
func message(err error) string {
	if sluice.CodeOf(err) == sluice.CodeInternal {
		return "the server could not do it; its log says why"
	}
	return err.Error()
}

type workIn[T any] struct {
	ProtocolIn
	Body T `required:"true"`
}

// namedIn names executions of a worker.
type namedIn struct {
	Worker     string  `json:"worker"`
	Executions []int64 `json:"executions" maxItems:"20000"`
}

type settleIn struct {
	Reports []sluice.Report     `json:"reports" maxItems:"20000"`
	Take    *sluice.TakeRequest `json:"take,omitempty" doc:"Work that is asked for together with the reports"`
}

type settledJSON struct {
	Errors      []*errorJSON        `json:"errors" doc:"One for each report; null: recorded"`
	Assignments []sluice.Assignment `json:"assignments"`
}

type instanceIn struct {
	Instance string `json:"instance" minLength:"1" maxLength:"200"`
}

// addWork registers what workers on other machines call.
func (a *API) addWork() {
	addJSON(a, "GET /api/work/terms", "workTerms", "What a worker must know to work here",
		func(_ context.Context, in *struct{ ProtocolIn }) (termsJSON, error) {
			if err := in.check(); err != nil {
				return termsJSON{}, err
			}
			t := a.e.Terms()
			return termsJSON{
				Protocol: WorkProtocol, Version: a.o.Version,
				StopAfterMS: t.StopAfter.Milliseconds(), KillGraceMS: t.KillGrace.Milliseconds(),
			}, nil
		})
	addJSON(a, "POST /api/work/take", "workTake", "Take work for free places, and wait for it", a.workTake)
	addJSON(a, "POST /api/work/settle", "workSettle", "Report ends, and take work for the places that they freed", a.workSettle)
	addJSON(a, "POST /api/work/confirm", "workConfirm", "Say that executions were launched",
		func(ctx context.Context, in *workIn[namedIn]) (struct{}, error) {
			if err := in.check(); err != nil {
				return struct{}{}, err
			}
			return struct{}{}, a.e.Confirm(ctx, in.Body.Worker, in.Body.Executions)
		})
	addJSON(a, "POST /api/work/hand_back", "workHandBack", "Give work back that was not launched",
		func(ctx context.Context, in *workIn[namedIn]) (struct{}, error) {
			if err := in.check(); err != nil {
				return struct{}{}, err
			}
			return struct{}{}, a.e.HandBack(ctx, in.Body.Worker, in.Body.Executions)
		})
	addJSON(a, "POST /api/work/heartbeat", "workHeartbeat", "Say what a worker is and holds; the answer is its lease",
		func(ctx context.Context, in *workIn[sluice.Heartbeat]) ([]sluice.Order, error) {
			if err := in.check(); err != nil {
				return nil, err
			}
			in.Body.Address = callerOf(ctx).Address
			return answered(a.e.Heartbeat(ctx, in.Body))
		})
	addJSON(a, "GET /api/work/orders", "workOrders", "Wait for orders to a worker", a.workOrders)
	addJSON(a, "POST /api/work/log", "workLog", "Add a piece to the log of an execution",
		func(ctx context.Context, in *workIn[sluice.LogChunk]) (struct{}, error) {
			if err := in.check(); err != nil {
				return struct{}{}, err
			}
			return struct{}{}, a.e.AppendLog(ctx, in.Body)
		})
	addJSON(a, "POST /api/work/gone", "workGone", "Say that a worker's process and all that it started is gone",
		func(ctx context.Context, in *workIn[instanceIn]) (struct{}, error) {
			if err := in.check(); err != nil {
				return struct{}{}, err
			}
			return struct{}{}, a.e.InstanceGone(ctx, in.Body.Instance)
		})
}

// answered makes an empty list of none: clients in other languages tell them apart.
func answered[T any](list []T, err error) ([]T, error) {
	if list == nil {
		list = []T{}
	}
	return list, err
}

// held bounds a call that waits by the life of the server.
func (a *API) held(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(a.closed, cancel)
	return ctx, func() { stop(); cancel() }
}

// Bounds of a request for work: how long it is held, since proxies cut others,
// and how many jobs one answer has, each with its arguments and its code.
const (
	longestTake = 30 * time.Second
	mostTaken   = 64
)

func bounded(r *sluice.TakeRequest) {
	r.Wait, r.Places = min(r.Wait, longestTake), min(r.Places, mostTaken)
}

func (a *API) workTake(ctx context.Context, in *workIn[sluice.TakeRequest]) ([]sluice.Assignment, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	ctx, done := a.held(ctx)
	defer done()
	bounded(&in.Body)
	return answered(a.e.Take(ctx, in.Body))
}

func (a *API) workSettle(ctx context.Context, in *workIn[settleIn]) (settledJSON, error) {
	if err := in.check(); err != nil {
		return settledJSON{}, err
	}
	if in.Body.Take == nil {
		return settledJSON{Errors: itemErrors(a.e.Report(ctx, in.Body.Reports)), Assignments: []sluice.Assignment{}}, nil
	}
	bounded(in.Body.Take)
	as, errs := a.e.Settle(ctx, in.Body.Reports, *in.Body.Take)
	as, _ = answered(as, nil)
	return settledJSON{Errors: itemErrors(errs), Assignments: as}, nil
}

type ordersIn struct {
	ProtocolIn
	Worker string `query:"worker" required:"true" maxLength:"300"`
}

func (a *API) workOrders(ctx context.Context, in *ordersIn) ([]sluice.Order, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	ctx, done := a.held(ctx)
	defer done()
	return answered(a.e.Orders(ctx, in.Worker))
}
