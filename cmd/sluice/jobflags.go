package main

import (
	"log/slog"
	"slices"

	"sluice"
	"sluice/internal/worker"
	"sluice/internal/worker/supervisor"
)

// jobFlags say what bounds the jobs of a worker, wherever it runs.
type jobFlags struct {
	Isolation string `help:"Walls around jobs: required (else no start), best-effort, none." default:"best-effort" enum:"required,best-effort,none" env:"SLUICE_ISOLATION"`
	// IsolationNetwork and the others below bound what a job reaches and uses.
	IsolationNetwork string   `help:"all: jobs reach the network of this machine; none: no network, the server included." default:"all" enum:"all,none" env:"SLUICE_ISOLATION_NETWORK"`
	IsolationRead    []string `help:"Further paths that jobs may read, such as a runtime in /opt." env:"SLUICE_ISOLATION_READ" placeholder:"PATH"`
	JobMemoryMiB     int64    `name:"job-memory-mib" help:"Memory of a job." default:"2048" env:"SLUICE_JOB_MEMORY_MIB"`
	JobDiskMiB       int64    `name:"job-disk-mib" help:"Size of a job's folder." default:"1024" env:"SLUICE_JOB_DISK_MIB"`
	JobProcesses     int      `help:"Processes and threads of a job." default:"512" env:"SLUICE_JOB_PROCESSES"`
}

func (j *jobFlags) check() error {
	switch {
	case j.JobMemoryMiB < 16 || j.JobMemoryMiB > 1<<20:
		return sluice.Invalid("--job-memory-mib", "must be from 16 to %s", grouped(1<<20))
	case j.JobDiskMiB < 1 || j.JobDiskMiB > 1<<20:
		return sluice.Invalid("--job-disk-mib", "must be from 1 to %s", grouped(1<<20))
	case j.JobProcesses < 8 || j.JobProcesses > 100_000:
		return sluice.Invalid("--job-processes", "must be from 8 to %s", grouped(100_000))
	}
	return nil
}

// bound sets what the flags say in a worker's settings.
func (j *jobFlags) bound(c *worker.Config) {
	limits := worker.DefaultLimits
	limits.MemoryBytes, limits.FileBytes, limits.Processes = j.JobMemoryMiB<<20, j.JobDiskMiB<<20, j.JobProcesses
	c.Level, c.NoNetwork, c.Read = supervisor.Level(j.Isolation), j.IsolationNetwork == "none", j.IsolationRead
	c.Limits, c.DiskBytes = limits, j.JobDiskMiB<<20
}

// logFlags say what is logged, and how.
type logFlags struct {
	LogLevel  string `help:"debug, info, warn or error." default:"info" enum:"debug,info,warn,error" env:"SLUICE_LOG_LEVEL"`
	LogFormat string `help:"text or json." default:"text" enum:"text,json" env:"SLUICE_LOG_FORMAT"`
}

func (l *logFlags) logger(a *app) *slog.Logger {
	var level slog.Level
	if level.UnmarshalText([]byte(l.LogLevel)) != nil {
		level = slog.LevelInfo // the flag's enum lets nothing else through
	}
	options := &slog.HandlerOptions{Level: level}
	if l.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(a.err, options))
	}
	return slog.New(slog.NewTextHandler(a.err, options))
}

// languageTags replaces the word languages among tags by those of all languages.
func languageTags(tags []string) []string {
	if i := slices.Index(tags, "languages"); i >= 0 {
		return slices.Replace(slices.Clone(tags), i, i+1, worker.DefaultTags()...)
	}
	return tags
}
