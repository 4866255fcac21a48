package worker

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"sluice"
	"sluice/internal/mask"
)

// TestVariables: each variable, for a job alone and for one that runs for others.
func TestVariables(t *testing.T) {
	alone := bashJob(1, "", "")
	alone.Token = "sj_1_1_x"
	preview := alone
	preview.Path = ""
	step := alone
	step.ParentJob, step.RootJob, step.Attempt = "parent", "root", 2
	child := alone
	child.ParentJob = "parent"
	for _, tc := range []struct {
		name string
		of   sluice.Assignment
		want map[string]string
	}{
		{"alone", alone, map[string]string{
			"WM_TOKEN": "sj_1_1_x", "WM_WORKSPACE": "demo", "WM_JOB_ID": "job-1", "WM_JOB_PATH": "f/x/a",
			"WM_FLOW_JOB_ID": "", "WM_ROOT_FLOW_JOB_ID": "", "WM_FLOW_PATH": "", "WM_FLOW_STEP_ID": "", "WM_SCHEDULE_PATH": "",
			"WM_SCHEDULED_FOR": "2026-01-02T03:04:05Z", "WM_STATE_PATH": "f/x/a_state", "WM_STATE_PATH_NEW": "f/x/a_state",
			"WM_OBJECT_PATH": "f_x_a/job-1", "WM_USERNAME": "ann", "WM_EMAIL": "ann@example.com", "WM_PERMISSIONED_AS": "u/ann",
			"WM_BASE_URL": "http://here", "BASE_INTERNAL_URL": "http://here", "BASE_URL": "http://here", "SLUICE_ATTEMPT": "1",
		}},
		{"without a path", preview, map[string]string{"WM_JOB_PATH": "", "WM_STATE_PATH": "u/ann/preview_state", "WM_OBJECT_PATH": "u_ann_preview/job-1"}},
		{"a step", step, map[string]string{"WM_FLOW_JOB_ID": "parent", "WM_ROOT_FLOW_JOB_ID": "root", "SLUICE_ATTEMPT": "2"}},
		{"a child", child, map[string]string{"WM_FLOW_JOB_ID": "parent", "WM_ROOT_FLOW_JOB_ID": "parent"}},
	} {
		task := &Task{Assignment: tc.of, BaseURL: "http://here"}
		got := map[string]string{}
		for _, v := range task.variables() {
			if _, twice := got[v[0]]; twice {
				t.Errorf("%s: %s twice", tc.name, v[0])
			}
			got[v[0]] = v[1]
		}
		if tc.name == "alone" && len(got) != len(tc.want) {
			t.Errorf("%d variables, want %d: %v", len(got), len(tc.want), got)
		}
		for name, want := range tc.want {
			if value, ok := got[name]; !ok || value != want {
				t.Errorf("%s: %s is %q (%v), want %q", tc.name, name, value, ok, want)
			}
		}
	}
}

// secretJob is a job with a token and a secret argument.
func secretJob(id int64, code, args string, secrets ...string) sluice.Assignment {
	a := bashJob(id, code, args)
	a.Token = "sj_" + strconv.FormatInt(id, 10) + "_1_0123456789abcdef"
	a.Secrets = append([]string{a.Token}, secrets...)
	return a
}

// TestSecretsStayOutOfTheLog: on both streams, in pieces, and in what is said
// of a failure; the result is the job's own affair.
func TestSecretsStayOutOfTheLog(t *testing.T) {
	f := newFakeSource()
	startWorker(t, f, nil)
	f.push(secretJob(1, `p="$1"
echo "token $WM_TOKEN"; echo "password $p" >&2
printf 'hun'; sleep 0.15; printf 'ter22 hunt\n'; printf hun >&2; printf 'hun\n'; printf 'ter22\n' >&2
echo "$p"`, `{"p":"hunter22"}`, "hunter22"))
	f.push(secretJob(2, `p="$1"; echo "bad $p"; printf "hunter2" ; exit 3`, `{"p":"hunter22"}`, "hunter22"))
	if r := f.result(t, 1); string(r.Result) != `"hunter22"` || r.Streamed {
		t.Errorf("result %s", r.Result)
	}
	log := f.logOf(1)
	if strings.Contains(log, "hunter22") || strings.Contains(log, "sj_") || strings.Count(log, mask.Text) != 5 || !strings.Contains(log, "***** hunt\n") {
		t.Errorf("log %q", log)
	}
	if g := failure(t, f.result(t, 2)); g.Message != "ExitCode: 3, last log lines:\nbad *****\nhunter2" {
		t.Errorf("failure %q", g.Message)
	}
}

// TestSecretsStayOutOfFailures: whatever an executor says of a failure, and what
// it logs itself.
func TestSecretsStayOutOfFailures(t *testing.T) {
	f := newFakeSource()
	startWorker(t, f, func(c *Config) {
		c.Executors = map[string]Executor{"bash": ExecutorFunc(func(ctx context.Context, task *Task) Outcome {
			task.Launched()
			task.Log(ctx, []byte("of the worker: hunter22\n"))
			o := failed(FailureExecution, "bad hunter22")
			if task.Content == "raised" {
				o.Error = json.RawMessage(`{"name":"E","message":"bad hunter22","stack":"at hunter22"}`)
			}
			return o
		})}
	})
	f.push(secretJob(1, "failed", `{}`, "hunter22"), secretJob(2, "raised", `{}`, "hunter22"))
	for id, want := range map[int64]string{1: `"message":"bad *****"`, 2: `"stack":"at *****"`} {
		if r := f.result(t, id); !strings.Contains(string(r.Result), want) || strings.Contains(string(r.Result), "hunter22") {
			t.Errorf("%d: %s", id, r.Result)
		}
		if log := f.logOf(id); log != "of the worker: *****\n" {
			t.Errorf("%d: log %q", id, log)
		}
	}
}

// TestSecretsAreOnNoCommandLine: neither as an argument nor as the token.
func TestSecretsAreOnNoCommandLine(t *testing.T) {
	f := newFakeSource()
	startWorker(t, f, nil)
	const code = `p="$1"; tr '\0' ' ' </proc/$$/cmdline >cmd; echo "$p|$0|$(<cmd)"`
	f.push(secretJob(1, code, `{"p":"hunter22"}`, "hunter22"))
	f.push(secretJob(2, code, `{"p":"visible"}`))
	if r := f.result(t, 1); string(r.Result) != `"hunter22|./main.sh|bash ./.start.sh "` {
		t.Errorf("with a secret: %s", r.Result)
	}
	if r := f.result(t, 2); string(r.Result) != `"visible|./main.sh|bash ./main.sh visible "` {
		t.Errorf("without: %s", r.Result)
	}
}

// TestResultStreamLeavesTheLog: its lines are no log and no result.
func TestResultStreamLeavesTheLog(t *testing.T) {
	f := newFakeSource()
	startWorker(t, f, nil)
	f.push(bashJob(1, `echo before; echo 'WM_STREAM: one\n'; echo 'WM_STREAM: two é'; echo " WM_STREAM: no"; echo 'WM_STREAM: err' >&2; printf 'WM_STREAM: end'`, ""))
	r := f.result(t, 1)
	if string(r.Result) != `" WM_STREAM: no"` || !r.Streamed {
		t.Errorf("result %s, streamed %v", r.Result, r.Streamed)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if got := string(f.streams[1]); got != "one\ntwo éend" {
		t.Errorf("stream %q", got)
	}
	if got := string(f.logs[1]); got != "before\n WM_STREAM: no\nWM_STREAM: err\n" {
		t.Errorf("log %q", got)
	}
}
