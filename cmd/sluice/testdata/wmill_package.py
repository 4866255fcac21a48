"""Calls the server as Python's wmill package does, without the package."""

import json
import os
import time
import urllib.error
import urllib.request

BASE = os.environ["BASE_INTERNAL_URL"] + "/api"
WORKSPACE = f"{BASE}/w/{os.environ['WM_WORKSPACE']}"


def call(method, url, body=None):
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {os.environ['WM_TOKEN']}", "Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(url, data, headers, method=method)) as answer:
        text = answer.read().decode()
        return json.loads(text) if "json" in answer.headers.get("Content-Type", "") else text


def wait(job):
    while True:
        maybe = call("GET", f"{WORKSPACE}/jobs_u/completed/get_result_maybe/{job}")
        if maybe["completed"]:
            return maybe["result"]
        time.sleep(0.05)


def missing(url):
    try:
        call("GET", url)
    except urllib.error.HTTPError as e:
        return e.code
    return 200


def main():
    saw = {"version": call("GET", f"{BASE}/version"), "me": call("GET", f"{WORKSPACE}/users/whoami")["email"]}
    job = call("POST", f"{WORKSPACE}/jobs/run/p/f/sdk/child?parent_job={os.environ['WM_JOB_ID']}", {"name": "ann"})
    saw["run"] = wait(job)
    saw["result"] = call("GET", f"{WORKSPACE}/jobs_u/completed/get_result/{job}")
    saw["direct"] = call("POST", f"{WORKSPACE}/jobs/run_wait_result/p/f/sdk/child", {"name": "eve"})
    call("POST", f"{WORKSPACE}/variables/create", {"path": "f/sdk/word", "value": "green", "is_secret": False, "description": ""})
    call("POST", f"{WORKSPACE}/variables/update/f/sdk/word", {"value": "blue"})
    saw["variable"] = call("GET", f"{WORKSPACE}/variables/get_value/f/sdk/word")
    state = f"{WORKSPACE}/resources/get_value_interpolated/{os.environ['WM_STATE_PATH']}"
    assert missing(state) == 404
    call("POST", f"{WORKSPACE}/resources/create", {"path": os.environ["WM_STATE_PATH"], "value": {"at": 1}, "resource_type": "state"})
    call("POST", f"{WORKSPACE}/resources/update_value/{os.environ['WM_STATE_PATH']}", {"value": {"at": 2}})
    saw["state"] = call("GET", state)
    call("POST", f"{WORKSPACE}/job_metrics/set_progress/{os.environ['WM_JOB_ID']}", {"percent": 10})
    saw["progress"] = call("GET", f"{WORKSPACE}/job_metrics/get_progress/{os.environ['WM_JOB_ID']}")
    assert saw["progress"] == 10, saw
    try:
        runs()
        exists()
    except urllib.error.HTTPError as e:
        raise AssertionError(f"{e.url}: {e.read().decode()}") from e
    return saw


def runs():
    child = call("GET", f"{WORKSPACE}/scripts/get/p/f/sdk/child")
    job = call("POST", f"{WORKSPACE}/jobs/run/h/{child['hash']}", {"name": "bob"})
    assert wait(job) == "hi bob", job
    assert call("GET", f"{WORKSPACE}/jobs_u/get/{job}")["success"] is True
    assert call("GET", f"{WORKSPACE}/jobs_u/get_root_job_id/{job}") == job
    flow = call("POST", f"{WORKSPACE}/jobs/run/f/f/sdk/flow", {})
    assert wait(flow) == "hi flow", flow
    late = call("POST", f"{WORKSPACE}/jobs/run/p/f/sdk/child?scheduled_in_secs=3600", {"name": "late"})
    call("POST", f"{WORKSPACE}/jobs_u/queue/cancel/{late}", {"reason": "no"})
    assert wait(late)["error"]["name"] == "Canceled", late
    assert missing(f"{BASE}/concurrency_groups/{late}/key") == 403  # groups are for people


def exists():
    for what, path, want in (("variables", "f/sdk/word", True), ("variables", "f/sdk/no", False), ("resources", os.environ["WM_STATE_PATH"], True)):
        assert call("GET", f"{WORKSPACE}/{what}/exists/{path}") is want, (what, path)
    assert call("GET", f"{WORKSPACE}/users/username_to_email/admin") == "admin@sluice.local"
