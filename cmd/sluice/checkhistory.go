package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"sluice"
	"sluice/internal/history"
)

type historyCmd struct {
	Database     string        `help:"Database to judge, as sqlite:PATH or postgres://USER:PASSWORD@HOST/NAME; else that of the data folder. A file may not be open in a server." env:"SLUICE_DATABASE" placeholder:"URL"`
	Data         string        `help:"Data folder of the server." default:"./data" env:"SLUICE_DATA" placeholder:"DIR"`
	Witness      string        `help:"File of a witness (see sluice witness) to which the jobs held connections, judged as well." type:"existingfile" placeholder:"FILE"`
	WitnessSlack time.Duration `help:"By how much the witness may have been late to notice; shortens its windows, excuses no overlap." default:"0s" placeholder:"TIME"`
	output
}

// Run judges a database. A promise that was broken is an error.
func (h *historyCmd) Run(ctx context.Context, a *app) error {
	if err := checkDatabase(h.Database); err != nil {
		return err
	}
	path := filePath(h.Database, filepath.Join(h.Data, databaseFile))
	if _, err := os.Stat(path); err != nil && !onPostgres(h.Database) {
		return &sluice.Error{Code: sluice.CodeNotFound, Message: fmt.Sprintf("the database %s cannot be opened: %s", path, plainCause(err)), Err: err}
	}
	database, err := openDatabase(ctx, h.Database, path, "full", slog.New(slog.NewTextHandler(a.err, nil)))
	if sluice.CodeOf(err) == sluice.CodeUnavailable && !onPostgres(h.Database) {
		return inUse(path, err)
	}
	if err != nil {
		return err
	}
	defer database.Close()
	options := history.Options{WitnessSlack: h.WitnessSlack}
	if h.Witness != "" {
		f, err := os.Open(h.Witness)
		if err != nil {
			return sluice.Invalid("--witness", "cannot be read: %s", plainCause(err))
		}
		defer f.Close()
		options.Witness = f
	}
	report, err := history.Check(ctx, database, options)
	if err != nil {
		return err
	}
	if h.JSON {
		if report.Violations == nil {
			report.Violations = []history.Violation{}
		}
		err = writeJSON(a.out, report)
	} else {
		err = report.Write(a.out)
	}
	if err == nil && !report.OK() {
		err = errJobFailed
	}
	return err
}
