// Package pgjob runs SQL scripts against PostgreSQL. It is a program of its own:
// the worker executes itself again, so that such a job is bounded and ended like
// any other.
package pgjob

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
	"golang.org/x/sys/unix"
)

// Marker is the argument that makes a program of ours run SQL.
const Marker = "__postgres"

// Main is to be called first thing in main, and in TestMain. In a process that
// was executed to run SQL it does that and never returns; in any other process
// it does nothing.
func Main() {
	if len(os.Args) != 2 || os.Args[1] != Marker {
		return
	}
	unix.CloseOnExec(3)
	if err := serve(os.Stdin, os.NewFile(3, "replies")); err != nil {
		fmt.Fprintln(os.Stderr, "sql:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// request is what the worker asks, on one line of standard input.
type request struct {
	Key   string                     `json:"key"`
	Code  string                     `json:"code"`
	Args  map[string]json.RawMessage `json:"args"`
	Names []string                   `json:"names"` // names[i] is that of $i+1; "" if it is not used
	Types []string                   `json:"types"`
	More  bool                       `json:"more"`
}

// thrown is an error as the server shows it.
type thrown struct {
	Name     string `json:"name"`
	Message  string `json:"message"`
	SQLState string `json:"sqlstate,omitempty"`
	Line     int    `json:"line,omitempty"`
	Column   int    `json:"column,omitempty"`
	Detail   string `json:"detail,omitempty"`
	Hint     string `json:"hint,omitempty"`
}

func serve(in io.Reader, out io.Writer) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return nil //nolint:nilerr // no further request
		}
		var q request
		if err := json.Unmarshal(line, &q); err != nil {
			return fmt.Errorf("read a request: %w", err)
		}
		fmt.Fprintf(out, "\n{\"key\":%q,\"started\":true}\n", q.Key)
		name, value := "result", []byte(nil)
		if rows, err := run(ctx, q); err != nil {
			name = "error"
			if value, err = json.Marshal(describe(err, q.Code)); err != nil {
				return fmt.Errorf("write an error: %w", err)
			}
		} else {
			value = rows
		}
		if _, err := fmt.Fprintf(out, "\n{\"key\":%q,%q:%s}\n", q.Key, name, value); err != nil {
			return fmt.Errorf("reply: %w", err)
		}
		if !q.More {
			return nil
		}
	}
}

// run carries out the statements in one session and returns the rows of the last.
func run(ctx context.Context, q request) (json.RawMessage, error) {
	cfg, err := connection(q.Args["database"])
	if err != nil {
		return nil, err
	}
	cfg.DefaultQueryExecMode = pgx.QueryExecModeExec
	// A statement goes on at the server unless it is told to stop.
	cfg.BuildContextWatcherHandler = func(c *pgconn.PgConn) ctxwatch.Handler {
		return &pgconn.CancelRequestContextWatcherHandler{Conn: c, DeadlineDelay: time.Second}
	}
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	result := json.RawMessage("[]")
	for _, s := range split(q.Code) {
		args, err := q.values(s)
		if err != nil {
			return nil, err
		}
		rows, err := conn.Query(ctx, s.text, append([]any{pgx.QueryExecModeExec, pgx.QueryResultFormats{pgx.TextFormatCode}}, args...)...)
		if err == nil {
			result, err = toJSON(rows)
		}
		if err != nil {
			return nil, &located{err, s.start}
		}
	}
	return result, nil
}

// located is an error of the statement that begins at a place of the code.
type located struct {
	error
	start int
}

func (l *located) Unwrap() error { return l.error }

// describe turns an error into what the server shows. It never holds the
// connection's password.
func describe(err error, code string) thrown {
	var of *pgconn.PgError
	if !errors.As(err, &of) {
		message := err.Error()
		var connect *pgconn.ConnectError
		if errors.As(err, &connect) {
			// One line of each attempt: with TLS, and then without.
			lines := slices.Compact(strings.Split(connect.Unwrap().Error(), "\n"))
			message = "The database cannot be reached: " + strings.Join(lines, "\n")
		}
		return thrown{Name: "Error", Message: message}
	}
	t := thrown{Name: "DatabaseError", Message: fmt.Sprintf("%s (SQLSTATE %s)", of.Message, of.Code), SQLState: of.Code, Detail: of.Detail, Hint: of.Hint}
	var at *located
	if of.Position > 0 && errors.As(err, &at) {
		before := []rune(code[at.start:])
		before = before[:min(int(of.Position)-1, len(before))]
		all := code[:at.start] + string(before)
		t.Line = strings.Count(all, "\n") + 1
		t.Column = len([]rune(all[strings.LastIndexByte(all, '\n')+1:])) + 1
		t.Message += fmt.Sprintf(" at line %d, column %d", t.Line, t.Column)
	}
	return t
}

// errDatabase is what is wrong with the argument that names the connection.
var errDatabase = errors.New(`the argument "database" must be a connection: an object with host, port, user, password, dbname and sslmode, or a text such as postgres://user@host/name`)

// connection reads the argument database.
func connection(raw json.RawMessage) (*pgx.ConnConfig, error) {
	var text string
	if json.Unmarshal(raw, &text) != nil || text == "" {
		var o struct {
			Host, User, Password, DBName, SSLMode string
			Port                                  json.RawMessage
			Root                                  string `json:"root_certificate_pem"`
		}
		if raw == nil || json.Unmarshal(raw, &o) != nil || o.Host == "" {
			return nil, errDatabase
		}
		u := url.URL{Scheme: "postgres", Path: "/" + o.DBName}
		if o.User != "" {
			u.User = url.UserPassword(o.User, o.Password)
		}
		query := url.Values{"host": {o.Host}}
		if port := strings.Trim(string(o.Port), `"`); port != "" && port != "null" {
			query.Set("port", port)
		}
		if o.SSLMode != "" {
			query.Set("sslmode", o.SSLMode)
		}
		u.RawQuery = query.Encode()
		if o.Root != "" {
			return withRoot(u.String(), o.Root)
		}
		text = u.String()
	}
	cfg, err := pgx.ParseConfig(text)
	if err != nil { // its text may hold the connection's
		return nil, errDatabase
	}
	return cfg, nil
}

// withRoot trusts one authority alone.
func withRoot(text, pem string) (*pgx.ConnConfig, error) {
	f, err := os.CreateTemp("", "root-*.pem")
	if err != nil {
		return nil, fmt.Errorf("keep the root certificate: %w", err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if _, err := f.WriteString(pem); err != nil {
		return nil, fmt.Errorf("keep the root certificate: %w", err)
	}
	cfg, err := pgx.ParseConfig(text + "&sslrootcert=" + url.QueryEscape(f.Name()))
	if err != nil {
		return nil, errDatabase
	}
	return cfg, nil
}

// values returns the arguments that a statement uses, as texts for the server to
// read as the types that it wants. Arrays of plain values become its arrays,
// unless JSON is what is declared.
func (q *request) values(s statement) ([]any, error) {
	args := make([]any, s.params)
	for i := range args {
		if i >= len(q.Names) || q.Names[i] == "" {
			continue
		}
		raw := q.Args[q.Names[i]]
		if len(raw) == 0 || string(raw) == "null" {
			continue
		}
		text, err := plain(raw, q.Types[i])
		if err != nil {
			return nil, fmt.Errorf("argument %s: %w", q.Names[i], err)
		}
		args[i] = text
	}
	return args, nil
}

func plain(raw json.RawMessage, kind string) (string, error) {
	switch {
	case raw[0] == '"':
		var s string
		err := json.Unmarshal(raw, &s)
		if kind == "bytes" {
			s = `\x` + fmt.Sprintf("%x", fromBase64(s))
		}
		return s, err
	case raw[0] == '[' && kind != "object":
		var list []json.RawMessage
		if err := json.Unmarshal(raw, &list); err != nil {
			return "", err
		}
		parts := make([]string, len(list))
		for i, e := range list {
			text, err := plain(e, "")
			if err != nil {
				return "", err
			}
			switch {
			case string(e) == "null":
				parts[i] = "NULL"
			case e[0] == '[':
				parts[i] = text
			default:
				parts[i] = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text) + `"`
			}
		}
		return "{" + strings.Join(parts, ",") + "}", nil
	}
	return string(raw), nil
}
