// Package deps finds out which packages a script needs, writes them down as a
// lock, and keeps what a lock names installed for the jobs of a worker.
//
// # Locks
//
// A lock is text in Windmill's format, so that scripts move between the two:
//
//	python3               # py: 3.11
//	                      requests==2.32.3      one pinned requirement a line
//	bun, deno, nativets   package.json, then a line //bun.lock, then bun.lock or <empty>
//	go                    go.mod, then a line //go.sum, then go.sum
//
// The empty lock is that of a script that needs nothing.
//
// # The cache
//
//	<dir>/<family>/<digest>         an installed lock; read-only; complete if it holds the marker
//	<dir>/<family>/<digest>.lock    flock: shared while in use, exclusive while it is made or removed;
//	                                its time of change is when the entry was used last
//	<dir>/tmp/<random>              where tools work; flocked by the process that made it
//	<dir>/locks/<digest>            locks resolved for code that came without one
//	<dir>/lock                      flock: guards tmp and evictions
//
// An entry is made in tmp and gets its name by one rename, so what has a name
// is whole; the marker is there for the disk that lost a file all the same.
// Several processes may share a cache. A lock file is removed together with
// its entry, so whoever gets a lock looks whether the file still has its name.
//
// # Example
//
//	c, err := deps.Open(deps.Config{Dir: dir, Run: run})
//	lock, err := c.Resolve(ctx, "python3", code)
//	h, err := c.Hold(ctx, "python3", lock)
//	defer h.Release()
//	// PYTHONPATH=h.Dir
package deps
