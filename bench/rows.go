package main

import (
	"time"
)

// rows are all benchmarks, in the order in which they are run.
var rows = []row{
	{name: "utilisation one key", store: onFile, run: with(inFile, oneKey)},
	{name: "utilisation 100 keys end", store: onFile, run: with(inFile, hundredFromEnd)},
	{name: "utilisation 100 keys start", store: onFile, run: with(inFile, hundredFromStart)},
	{name: "utilisation at once", store: onFile, run: with(inFile, atOnce)},
	{name: "latency freed by an end", store: onFile, run: with(inFile, freedByEnd)},
	{name: "latency freed by a window", store: onFile, run: with(inFile, freedByWindow)},
	{name: "latency submit to start", store: onFile, run: with(inFile, submitToStart)},
	{name: "throughput", store: onFile, run: throughput},
	{name: "cost waiting", store: onFile, runs: 1, run: costWaiting},
	{name: "cost of N", store: onFile, run: costOfN},
	{name: "idle statements", store: onFile, runs: 1, run: idle},
	{name: "many groups", store: onFile, runs: 1, run: manyGroups},
	{name: "bash", store: onFile, run: bash},
	{name: "languages", store: onFile, runs: 3, run: starts},
	{name: "flow of 40 steps", store: onFile, run: func() []value { return flowOfSteps(inFile, 2) }},
	{name: "flow loop of 1,000", store: onFile, runs: 3, run: parallelLoop},
	{name: "flow fib", store: onFile, runs: 3, run: fibonacci},

	{name: "pg utilisation one key", store: onPostgres, runs: 3, run: pgOneKey},
	{name: "pg utilisation 100 keys", store: onPostgres, runs: 1, run: pgHundred},
	{name: "pg latency freed by an end", store: onPostgres, runs: 3, run: with(inPostgres, freedByEnd)},
	{name: "pg latency two servers", store: onPostgres, runs: 3, run: pgTwoServers},
	{name: "pg latency freed by a window", store: onPostgres, runs: 3, run: with(inPostgres, freedByWindow)},
	{name: "pg latency submit to start", store: onPostgres, runs: 3, run: with(inPostgres, submitToStart)},
	{name: "pg flow of 40 steps", store: onPostgres, runs: 3, run: func() []value { return flowOfSteps(inPostgres, 3) }},
	{name: "pg batches", store: onPostgres, runs: 3, run: pgBatches},
	{name: "pg burn-down", store: onPostgres, runs: 3, run: pgBurnDown},
	{name: "pg three servers", store: onPostgres, runs: 3, run: pgServers},
	{name: "pg behind", store: onPostgres, runs: 3, run: pgBehind},
	{name: "pg load", store: onPostgres, runs: 1, run: pgLoad},
}

const (
	onFile     = "sqlite"
	onPostgres = "postgres"
)

func with(open maker, run func(maker) []value) func() []value {
	return func() []value { return run(open) }
}

func hundredFromEnd(open maker) []value {
	return manyKeys(open, "end", 5*time.Millisecond, 0.99, 0.98)
}

func hundredFromStart(open maker) []value {
	return manyKeys(open, "start", 200*time.Millisecond, 0.98, 0)
}
