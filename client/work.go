package client

import (
	"context"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"sluice"
)

// workProtocol is the version of the workers' protocol that this client speaks.
const workProtocol = "1"

// Bounds of one call: a server takes bodies of a few megabytes, and a job may
// bring as much.
const (
	maxReports    = 2 << 20 // bytes of results, unless one alone has more
	reportBytes   = 300     // of a report beside its result
	maxTake       = 64      // jobs that are asked for at a time
	maxWorkAnswer = 512 << 20
)

// Work is where a worker on another machine gets its work: it implements the
// worker's Source over HTTP. It knows one or several servers of one database,
// and turns to the next when the one it speaks to is away. It repeats nothing
// by itself; the worker does. Its methods may be called concurrently.
type Work struct {
	servers []*Client
	at      atomic.Uint32 // the server that calls go to
}

// NewWork makes a Work for the servers at some addresses, which all take the
// token of c. It fails with code invalid if an address is none.
func NewWork(urls []string, c Config) (*Work, error) {
	if len(urls) == 0 {
		return nil, sluice.Invalid("url", "must name at least one server")
	}
	w := &Work{}
	for _, u := range urls {
		c.URL = u
		one, err := New(c)
		if err != nil {
			return nil, err
		}
		w.servers = append(w.servers, one)
	}
	return w, nil
}

// URL returns the address of the server that calls go to.
func (w *Work) URL() string { return w.server().URL() }

func (w *Work) server() *Client { return w.servers[int(w.at.Load())%len(w.servers)] }

// do makes a call, and turns to the next server if this one is away.
func (w *Work) do(ctx context.Context, r call) error {
	at := w.at.Load()
	r.work = true
	err := w.servers[int(at)%len(w.servers)].do(ctx, r)
	if err != nil && ctx.Err() == nil && sluice.CodeOf(err) == sluice.CodeUnavailable {
		w.at.CompareAndSwap(at, at+1)
	}
	return err
}

// WorkTerms are what a worker must know to keep its part of the contract.
type WorkTerms struct {
	Version   string
	StopAfter time.Duration // out of touch so long, it ends its jobs
	KillGrace time.Duration // between TERM and KILL
}

// Terms asks for the terms of the servers.
func (w *Work) Terms(ctx context.Context) (WorkTerms, error) {
	var t struct {
		Version     string `json:"version"`
		StopAfterMS int64  `json:"stop_after_ms"`
		KillGraceMS int64  `json:"kill_grace_ms"`
	}
	r := get("work/terms", nil)
	r.repeat, r.into = false, &t
	err := w.do(ctx, r)
	return WorkTerms{
		Version: t.Version, StopAfter: time.Duration(t.StopAfterMS) * time.Millisecond, KillGrace: time.Duration(t.KillGraceMS) * time.Millisecond,
	}, err
}

// Take implements the worker's Source.
func (w *Work) Take(ctx context.Context, req sluice.TakeRequest) ([]sluice.Assignment, error) {
	var as []sluice.Assignment
	req.Places = min(req.Places, maxTake)
	r := post("work/take", req)
	r.into = &as
	return as, w.do(ctx, r)
}

type namedExecutions struct {
	Worker     string  `json:"worker"`
	Executions []int64 `json:"executions"`
}

// Confirm implements the worker's Source.
func (w *Work) Confirm(ctx context.Context, worker string, executions []int64) error {
	return w.do(ctx, post("work/confirm", namedExecutions{worker, executions}))
}

// HandBack implements the worker's Source.
func (w *Work) HandBack(ctx context.Context, worker string, executions []int64) error {
	return w.do(ctx, post("work/hand_back", namedExecutions{worker, executions}))
}

// Heartbeat implements the worker's Source.
func (w *Work) Heartbeat(ctx context.Context, hb sluice.Heartbeat) ([]sluice.Order, error) {
	var orders []sluice.Order
	r := post("work/heartbeat", hb)
	r.into = &orders
	return orders, w.do(ctx, r)
}

// Orders implements the worker's Source.
func (w *Work) Orders(ctx context.Context, worker string) ([]sluice.Order, error) {
	var orders []sluice.Order
	return orders, w.do(ctx, call{method: http.MethodGet, path: "work/orders", query: url.Values{"worker": {worker}}, into: &orders})
}

// AppendLog implements the worker's Source.
func (w *Work) AppendLog(ctx context.Context, chunk sluice.LogChunk) error {
	return w.do(ctx, post("work/log", chunk))
}

// Gone says that a worker's process, and all that it had started, is gone.
func (w *Work) Gone(ctx context.Context, instance string) error {
	return w.do(ctx, post("work/gone", map[string]string{"instance": instance}))
}

type settleRequest struct {
	Reports []sluice.Report     `json:"reports"`
	Take    *sluice.TakeRequest `json:"take,omitempty"`
}

type settleAnswer struct {
	Errors []*struct {
		Code    sluice.Code `json:"code"`
		Message string      `json:"message"`
	} `json:"errors"`
	Assignments []sluice.Assignment `json:"assignments"`
}

// Report implements the worker's Source.
func (w *Work) Report(ctx context.Context, reports []sluice.Report) []error {
	_, errs := w.settle(ctx, reports, nil)
	return errs
}

// Settle implements the worker's Source.
func (w *Work) Settle(ctx context.Context, reports []sluice.Report, req sluice.TakeRequest) ([]sluice.Assignment, []error) {
	req.Places = min(req.Places, maxTake)
	return w.settle(ctx, reports, &req)
}

// settle sends reports in calls of bounded size, and the request for work with
// the last.
func (w *Work) settle(ctx context.Context, reports []sluice.Report, req *sluice.TakeRequest) (as []sluice.Assignment, errs []error) {
	for from := 0; from < len(reports); {
		to, size := from, 0
		for ; to < len(reports) && (to == from || size+len(reports[to].Result)+reportBytes <= maxReports); to++ {
			size += len(reports[to].Result) + reportBytes
		}
		ask := settleRequest{Reports: reports[from:to]}
		if to == len(reports) {
			ask.Take = req
		}
		var answer settleAnswer
		r := post("work/settle", ask)
		r.into = &answer
		err := w.do(ctx, r)
		if err == nil && len(answer.Errors) != to-from {
			err = sluice.Errorf(sluice.CodeInternal, "the server answered %d reports of %d", len(answer.Errors), to-from)
		}
		for i := range to - from {
			switch {
			case err != nil:
				errs = append(errs, err)
			case answer.Errors[i] != nil:
				errs = append(errs, &sluice.Error{Code: answer.Errors[i].Code, Message: answer.Errors[i].Message})
			default:
				errs = append(errs, nil)
			}
		}
		as = append(as, answer.Assignments...)
		from = to
	}
	return as, errs
}
