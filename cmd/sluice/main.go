// Command sluice is the job server, its worker, and the command line that
// speaks to it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"sluice"
	"sluice/internal/expr"
	"sluice/internal/worker/pgjob"
	"sluice/internal/worker/supervisor"
)

// version is set by the linker.
var version = "dev"

const helpWidth = 80

// cli is everything that can be said on the command line.
type cli struct {
	Server       serverCmd     `cmd:"" help:"Run a server with an embedded worker."`
	Worker       workerCmd     `cmd:"" help:"Run a worker for a server on another machine."`
	Push         pushCmd       `cmd:"" help:"Save the scripts, flows and schedules of a folder on the server."`
	Pull         pullCmd       `cmd:"" help:"Write the scripts, flows and schedules of a workspace to a folder."`
	Export       exportCmd     `cmd:"" help:"Write the scripts and flows of a workspace into a zip archive."`
	Import       importCmd     `cmd:"" help:"Save the scripts and flows of an exported archive."`
	Run          runCmd        `cmd:"" help:"Run a script."`
	Jobs         jobsCmd       `cmd:"" help:"Look at jobs, and cancel them."`
	Limits       limitsCmd     `cmd:"" help:"Look at concurrency limits, and change them."`
	Scripts      scriptsCmd    `cmd:"" help:"Look at scripts and their versions, and remove them."`
	Flows        flowsCmd      `cmd:"" help:"Look at flows and their versions, and change them."`
	Schedules    schedulesCmd  `cmd:"" help:"Look at schedules, and change them."`
	Schedule     schedulesCmd  `cmd:"" hidden:"" help:"Look at schedules, and change them."`
	Variable     variableCmd   `cmd:"" help:"Look at variables, and change them."`
	Resource     resourceCmd   `cmd:"" help:"Look at resources, and change them."`
	Key          keyCmd        `cmd:"" help:"Change the keys under which secrets are encrypted."`
	Login        loginCmd      `cmd:"" help:"Sign in, and keep that in a profile."`
	Logout       logoutCmd     `cmd:"" help:"Sign out."`
	Profiles     profilesCmd   `cmd:"" help:"Look at profiles, and choose one."`
	User         userCmd       `cmd:"" help:"Look at users, and change them."`
	Token        tokenCmd      `cmd:"" help:"Look at your tokens, make and revoke them."`
	Workspace    workspaceCmd  `cmd:"" help:"Look at workspaces and their members, and change them."`
	DemoAPI      demoAPICmd    `cmd:"" name:"demo-api" help:"Run an HTTP server that refuses calls beyond a rate."`
	CheckHistory historyCmd    `cmd:"" name:"check-history" help:"Prove from the record that no limit was ever exceeded."`
	Backup       backupCmd     `cmd:"" help:"Copy the database of a server, which may go on meanwhile, into a file."`
	Witness      witnessCmd    `cmd:"" help:"Note when jobs run, by connections that they hold, for check-history."`
	Completion   completionCmd `cmd:"" help:"Print what makes a shell complete the commands."`
	Complete     completeCmd   `cmd:"" hidden:""`
	Reference    referenceCmd  `cmd:"" hidden:""`
	Version      versionCmd    `cmd:"" help:"Print the version."`
}

// app is what a command gets from the world around it.
type app struct {
	in       io.Reader
	out, err io.Writer
	env      func(string) string
	now      func() time.Time
	zone     *time.Location
	width    int  // columns of a table; 0: as many as it needs
	live     bool // err is a terminal: progress may be drawn on it
	tty      bool // out is a terminal: it is kept safe from what jobs print
	self     string
}

func main() {
	expr.Main()
	pgjob.Main()
	supervisor.Main() // first: a job's supervisor is this program again
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	go func() {
		<-ctx.Done()
		stop() // from now on a second signal ends the program at once
	}()
	a := &app{
		in: os.Stdin, out: os.Stdout, err: os.Stderr,
		env: os.Getenv, now: time.Now, zone: time.Local,
		width: columns(os.Stdout, os.Getenv("COLUMNS")),
		live:  isTerminal(os.Stderr),
		tty:   isTerminal(os.Stdout),
		self:  self(os.Args[0]),
	}
	os.Exit(a.run(ctx, os.Args[1:]))
}

// self returns the name by which this program was called, as it may be typed again.
func self(name string) string {
	if filepath.IsAbs(name) {
		return "sluice"
	}
	return name
}

// run carries out one command line and returns its exit status.
func (a *app) run(ctx context.Context, args []string) int {
	err := a.dispatch(ctx, args)
	if err != nil && ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return exitInterrupted
	}
	if err != nil {
		a.complain(err)
	}
	return exitStatus(err)
}

// leave carries an exit status out of the parser, which has printed its help.
type leave int

func (a *app) dispatch(ctx context.Context, args []string) (err error) {
	defer func() {
		switch left := recover().(type) {
		case nil:
		case leave:
			if left != 0 {
				err = errUsage
			}
		default:
			panic(left)
		}
	}()
	parser, err := a.parser(ctx, &cli{})
	if err != nil {
		return err
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	parsed, err := parser.Parse(args)
	if p := (*kong.ParseError)(nil); errors.As(err, &p) {
		return withHelp(usage(err), p.Context)
	}
	if err != nil {
		return withHelp(usage(err), nil)
	}
	if err = parsed.Run(); errors.Is(err, errUsage) {
		return withHelp(err, parsed)
	}
	return err
}

// parser reads command lines into c.
func (a *app) parser(ctx context.Context, c *cli) (*kong.Kong, error) {
	parser, err := kong.New(
		c,
		kong.Name("sluice"),
		kong.Description(about),
		kong.Writers(a.out, a.err),
		kong.Exit(func(status int) { panic(leave(status)) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true, WrapUpperBound: helpWidth}),
		kong.Bind(a),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Vars{"default_url": defaultURL},
	)
	if err != nil {
		return nil, fmt.Errorf("read the definition of the commands: %w", err)
	}
	return parser, nil
}

const about = `Sluice runs jobs as fast as their concurrency limits allow, and never faster.

Start with "sluice server --seed", then "sluice run f/demo/hello --wait".

Exit status: 0 done, 1 the job did not succeed (or check-history found something, or import skipped something), 2 invalid input, 3 not found, 4 unauthorized, 5 forbidden, 6 conflict, 7 limited, 8 too large, 9 no server, 10 internal error, 130 interrupted.`

// usage marks an error as one about the command line.
func usage(err error) error {
	return &sluice.Error{Code: sluice.CodeInvalid, Message: noNothing.Replace(err.Error()), Err: errUsage}
}

// noNothing leaves the empty value, which is the default, out of what an
// option may be.
var noNothing = strings.NewReplacer(`must be one of "",`, `must be one of `)

// withHelp adds to an error where the help is.
func withHelp(err error, at *kong.Context) error {
	help := "sluice --help"
	if at != nil {
		if node := at.Selected(); node != nil {
			help = node.FullPath() + " --help"
		}
	}
	return &sluice.Error{Code: sluice.CodeInvalid, Message: fmt.Sprintf("%s\n  Help: %s", err, help), Err: errUsage}
}

type versionCmd struct {
	Remote bool `help:"Also ask the server for its version."`
	remote
	output
}

// Run prints the version.
func (v *versionCmd) Run(ctx context.Context, a *app) error {
	said, text := map[string]string{"sluice": version}, "sluice "+version
	if v.Remote {
		c, err := v.connect(a)
		if err != nil {
			return err
		}
		server, err := c.Version(ctx)
		if err != nil {
			return err
		}
		said["server"] = strings.TrimSpace(server)
		text += "\nserver " + clean(said["server"])
	}
	if v.JSON {
		return writeJSON(a.out, said)
	}
	fmt.Fprintln(a.out, text)
	return nil
}
