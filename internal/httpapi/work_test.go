package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"sluice"
)

// One answer to a worker has a bounded number of jobs, whatever it asks for: in
// a request for work of its own as in one that comes with reports.
func TestWorkIsHandedOutInPieces(t *testing.T) {
	r := newRig(t)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = r.e.Run(ctx) }()
	defer func() { stop(); <-done }()
	for i := range 2 * mostTaken {
		path := fmt.Sprintf("f/w/s%d", i)
		r.script(path, "")
		r.run(path, "{}")
	}
	call := func(path, body string) string {
		return r.ok(200, "POST", "/api/work/"+path, body, "X-Sluice-Worker", "1", "Content-Type", "application/json")
	}
	take := sluice.TakeRequest{Worker: "w9", TakeNo: 1, Tags: []string{"bash"}, Places: 1000, Wait: longestTake}
	body := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	call("heartbeat", body(sluice.Heartbeat{Worker: "w9", Instance: "there", Tags: take.Tags, Places: 1000, Version: "1.2.3"}))
	var first []sluice.Assignment
	r.read(call("take", body(take)), &first)
	if len(first) != mostTaken {
		t.Fatalf("the first answer has %d jobs", len(first))
	}
	take.TakeNo++
	var settled settledJSON
	report := sluice.Report{Execution: first[0].Execution, Worker: "w9", Success: true, Launched: true, Result: json.RawMessage("1")}
	r.read(call("settle", body(settleIn{Reports: []sluice.Report{report}, Take: &take})), &settled)
	if len(settled.Assignments) != mostTaken || len(settled.Errors) != 1 || settled.Errors[0] != nil {
		t.Errorf("the second answer has %d jobs, errors %+v", len(settled.Assignments), settled.Errors)
	}
}

// TestWorkersTellNoTime: nothing that a worker says holds an instant, so that a
// clock of its that is wrong changes nothing.
func TestWorkersTellNoTime(t *testing.T) {
	seen := map[reflect.Type]bool{}
	var walk func(in reflect.Type, path string)
	walk = func(in reflect.Type, path string) {
		switch {
		case in == reflect.TypeFor[time.Time]():
			t.Errorf("%s is an instant", path)
		case seen[in]:
		default:
			seen[in] = true
			of := []reflect.Kind{reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map}
			if slices.Contains(of, in.Kind()) {
				walk(in.Elem(), path+"[]")
			} else if in.Kind() == reflect.Struct {
				for f := range in.Fields() {
					walk(f.Type, path+"."+f.Name)
				}
			}
		}
	}
	for _, v := range []any{sluice.TakeRequest{}, settleIn{}, namedIn{}, sluice.Heartbeat{}, sluice.LogChunk{}, instanceIn{}} {
		walk(reflect.TypeOf(v), reflect.TypeOf(v).Name())
	}
	if len(seen) < 10 {
		t.Errorf("only %d types were looked at", len(seen))
	}
}
