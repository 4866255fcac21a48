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

// qMayVacuum tells whether the tables belong to this role: to others PostgreSQL
// says nothing but a warning for each table.
const qMayVacuum = `SELECT CASE WHEN bool_and(pg_has_role(relowner, 'USAGE')) THEN 1 ELSE 0 END
FROM pg_class WHERE oid IN ('stand'::regclass, 'line'::regclass, 'grp'::regclass, 'tally'::regclass)`

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
		may := int64(0)
		if err := s.ask(ctx, func(p *pipe) { p.add(func(r *row) { may = r.getInt() }, qMayVacuum) }); err != nil {
			continue // the next time
		}
		if may == 0 {
			s.log.Warn("cleaning up behind the queue is left to autovacuum: the tables belong to another role of the database")
			return
		}
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
