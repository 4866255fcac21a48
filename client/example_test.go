package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"

	"sluice"
	"sluice/client"
	"sluice/internal/engine"
	"sluice/internal/httpapi"
	"sluice/internal/store"
	"sluice/internal/store/sqlite"
)

const exampleToken = "token-of-the-administrator"

// newServer starts the real API on a file of its own. No worker takes its jobs.
func newServer() (url string, stop func()) {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "sluice-example-")
	if err != nil {
		log.Fatal(err)
	}
	s, err := sqlite.Open(ctx, filepath.Join(dir, "example.db"), sqlite.Options{Synchronous: "off", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		log.Fatal(err)
	}
	e, err := engine.New(ctx, s, engine.Options{})
	if err != nil {
		log.Fatal(err)
	}
	if err := e.CreateWorkspace(ctx, store.Workspace{ID: "main", Name: "main"}); err != nil {
		log.Fatal(err)
	}
	api, err := httpapi.New(httpapi.Options{
		Engine: e, Token: exampleToken, Version: "1.0.0", Instance: "example", Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		log.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(nil)
	srv.Config = httpapi.NewServer("", api)
	srv.Start()
	return srv.URL, func() {
		api.Close()
		srv.CloseClientConnections()
		srv.Close()
		e.Close()
		if err := errors.Join(s.Close(), os.RemoveAll(dir)); err != nil {
			log.Fatal(err)
		}
	}
}

// Save a script with a limit, push ten runs of it in one call, and ask why the
// first one does not run yet.
func Example() {
	url, stop := newServer()
	defer stop()
	ctx := context.Background()
	c, err := client.New(client.Config{URL: url, Token: exampleToken})
	if err != nil {
		log.Fatal(err)
	}
	_, err = c.SaveScript(ctx, json.RawMessage(`{
		"path": "f/demo/call", "language": "bash", "content": "echo hello",
		"concurrent_limit": 2, "concurrency_time_window_s": 60
	}`))
	if err != nil {
		log.Fatal(err)
	}
	jobs := make([]client.RunRequest, 10)
	for i := range jobs {
		jobs[i] = client.RunRequest{Path: "f/demo/call", Args: json.RawMessage(`{}`)}
	}
	ids, err := c.RunBulk(ctx, jobs)
	if err != nil {
		log.Fatal(err)
	}
	wait, err := c.Wait(ctx, ids[0])
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(ids), "jobs;", "the first waits:", wait.Reason)
	// Output: 10 jobs; the first waits: no_worker
}

// Every error has a code.
func ExampleClient_Script() {
	url, stop := newServer()
	defer stop()
	c, err := client.New(client.Config{URL: url, Token: exampleToken})
	if err != nil {
		log.Fatal(err)
	}
	_, err = c.Script(context.Background(), "f/demo/none")
	var e *sluice.Error
	if errors.As(err, &e) {
		fmt.Println(e.Code)
	}
	// Output: not_found
}

// A job with an id of the caller's may be pushed again: it is pushed once.
func ExampleClient_Run() {
	url, stop := newServer()
	defer stop()
	ctx := context.Background()
	c, err := client.New(client.Config{URL: url, Token: exampleToken})
	if err != nil {
		log.Fatal(err)
	}
	request := client.RunRequest{
		ID:      client.NewID(),
		Preview: &client.Preview{Language: "bash", Content: "echo hello"},
	}
	first, err := c.Run(ctx, request)
	if err != nil {
		log.Fatal(err)
	}
	second, err := c.Run(ctx, request)
	if err != nil {
		log.Fatal(err)
	}
	jobs, err := c.Jobs(ctx, client.JobFilter{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(first == second, len(jobs))
	// Output: true 1
}

// Make a user, sign in as it, and make a token that may do one thing only.
func ExampleClient_SignIn() {
	url, stop := newServer()
	defer stop()
	ctx := context.Background()
	admin, err := client.New(client.Config{URL: url, Token: exampleToken})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := admin.CreateUser(ctx, client.NewUser{Email: "ada@example.org", Password: "a long password"}); err != nil {
		log.Fatal(err)
	}
	if err := admin.AddMember(ctx, "ada@example.org", sluice.RoleDeveloper); err != nil {
		log.Fatal(err)
	}
	session, err := admin.SignIn(ctx, "ada@example.org", "a long password")
	if err != nil {
		log.Fatal(err)
	}
	ada, err := client.New(client.Config{URL: url, Token: session})
	if err != nil {
		log.Fatal(err)
	}
	hook, err := ada.CreateToken(ctx, client.NewToken{Label: "webhook", Scopes: []string{"jobs:run:scripts:f/demo/call"}})
	if err != nil {
		log.Fatal(err)
	}
	caller, err := client.New(client.Config{URL: url, Token: hook})
	if err != nil {
		log.Fatal(err)
	}
	_, err = caller.Scripts(ctx, 1, 10)
	fmt.Println(sluice.CodeOf(err))
	// Output: forbidden
}
