package sqlite

import (
	"time"

	"sluice/internal/store"
)

const auditCols = `id, at_us, workspace, username, email, operation, kind, resource, address, token, parameters`

var (
	qAddAudit = sqlText(`INSERT INTO audit (at_us, workspace, username, email, operation, kind, resource, address, token, parameters)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`)
	qDropAudit = sqlText(`DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE at_us < ? ORDER BY at_us LIMIT ?)`)
)

// AuditEntries implements [store.Reader].
func (r *reader) AuditEntries(f store.AuditFilter) ([]*store.AuditEntry, error) {
	w := &where{}
	if f.Workspace != nil {
		w.add("workspace = ?", func(s *stmt) { s.str(*f.Workspace) })
	}
	w.text("username", f.Username)
	w.text("operation", f.Operation)
	w.text("kind", f.Kind)
	w.text("resource", f.Resource)
	w.instant("at_us >= ?", f.After)
	w.instant("at_us <= ?", f.Before)
	s := w.bind(r.c.once(`SELECT ` + auditCols + ` FROM audit` + w.String() + ` ORDER BY id DESC LIMIT ? OFFSET ?`)).
		int(int64(orDefault(f.Limit))).int(int64(f.Offset))
	var list []*store.AuditEntry
	for s.next() {
		list = append(list, &store.AuditEntry{
			ID: s.getInt(), At: s.getAt(), Workspace: s.getStr(), Username: s.getStr(), Email: s.getStr(), Operation: s.getStr(),
			Kind: s.getStr(), Resource: s.getStr(), Address: s.getStr(), Token: s.getStr(), Parameters: s.getBytes(),
		})
	}
	return list, s.end()
}

// AddAudit implements [store.Tx].
func (t *tx) AddAudit(e *store.AuditEntry) error {
	t.wrote = true
	_, err := t.c.use(qAddAudit).at(e.At).str(e.Workspace).str(e.Username).str(e.Email).str(e.Operation).str(e.Kind).
		str(e.Resource).str(e.Address).str(e.Token).str(string(e.Parameters)).run()
	e.ID = t.c.lastID()
	return err
}

// DeleteAudit implements [store.Tx].
func (t *tx) DeleteAudit(before time.Time, most int) (int, error) {
	n, err := t.c.use(qDropAudit).at(before).int(int64(most)).run()
	t.wrote = t.wrote || n > 0
	return n, err
}
