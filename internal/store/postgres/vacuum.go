package postgres

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Rows of the queue live for seconds, and autovacuum looks once a minute at most
// (autovacuum_naptime, which is the whole server's): by then, a busy queue holds
// many times as many dead rows as live ones, and every claim walks over their
// entries. So a server that has made many rows dead cleans up after itself. It
// waits for nobody, and leaves the files as long as they are.
const (
	vacuumEvery = 5 * time.Second
	vacuumRows  = 10_000 // made dead by this server since it last cleaned up
	qVacuum     = `VACUUM (SKIP_LOCKED, TRUNCATE false) stand, line, grp, tally`
)

// vacuumLoop cleans up behind a busy queue.
func (s *Store) vacuumLoop(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(vacuumEvery - rand.N(vacuumEvery/5)):
		}
		if s.dead.Load() < vacuumRows {
			continue
		}
		s.dead.Store(0)
		if err := s.vacuum(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn("clean up behind the queue; autovacuum has to", "err", err)
		}
	}
}

// vacuum cleans up. It is one statement by itself, outside any transaction, so it
// goes through a pooler.
func (s *Store) vacuum(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	s.statements.Add(1)
	s.trips.Add(1)
	return s.pool.AcquireFunc(ctx, func(c *pgxpool.Conn) error {
		_, err := c.Exec(ctx, qVacuum, pgx.QueryExecModeSimpleProtocol)
		return err
	})
}
