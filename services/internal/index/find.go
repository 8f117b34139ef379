package index

import (
	"context"
	"database/sql"
	"errors"
)

// Hit is a document that was found.
type Hit struct {
	Ref
	Order uint64
}

// Page is which of the hits are wanted.
type Page struct {
	Scope string // only this one; empty: all
	Below uint64 // only those with a lower Order; 0: all
	Limit int
}

// Find returns documents that have all terms of q which the index knows (Exact),
// highest Order first. If q is not Indexed it returns documents whatever they
// say. It may return some together with an error, such as the end of ctx.
func (x *Index) Find(ctx context.Context, q Query, p Page) (hits []Hit, err error) {
	if q.Terms() == 0 || p.Limit <= 0 {
		return nil, nil
	}
	if p.Below == 0 {
		p.Below = 1<<63 - 1
	}
	err = x.with(ctx, func(reader, _ *sql.DB) error {
		var scope int64
		if p.Scope != "" {
			err := reader.QueryRowContext(ctx, "SELECT n FROM scopes WHERE id = ?", p.Scope).Scan(&scope)
			if errors.Is(err, sql.ErrNoRows) {
				return nil
			}
			if err != nil {
				return err
			}
			if e := q.expression(""); e != "" {
				found, enough, err := glance(ctx, reader, e, p)
				if err != nil || enough {
					hits = found
					return err
				}
			}
		}
		hits, err = find(ctx, reader, q, scope, p)
		return err
	})
	return hits, err
}

// glanced is how many hits of all scopes are looked at before those of one are
// asked for.
const glanced = 200

// glance looks for the hits of a scope among the newest of all: meeting the token
// of a scope with rare terms costs a seek each, in what is long for a large one.
// enough says that there are no more than these, or as many as are wanted.
func glance(ctx context.Context, reader *sql.DB, expression string, p Page) (hits []Hit, enough bool, err error) {
	all, err := collect(ctx, reader, selected+
		"(SELECT rowid FROM texts WHERE texts MATCH ? AND rowid < ? ORDER BY rowid DESC LIMIT ?) t CROSS JOIN docs d ON d.id = t.rowid"+
		joined+"ORDER BY d.id DESC", expression, int64(p.Below), glanced)
	if err != nil {
		return nil, false, err
	}
	for _, h := range all {
		if h.Scope == p.Scope && len(hits) < p.Limit {
			hits = append(hits, h)
		}
	}
	return hits, len(hits) == p.Limit || len(all) < glanced, nil
}

const (
	selected = "SELECT d.id, s.id, d.name FROM "
	joined   = " CROSS JOIN scopes s ON s.n = d.scope "
)

// find asks for a page. scope is a number, 0: all.
func find(ctx context.Context, reader *sql.DB, q Query, scope int64, p Page) ([]Hit, error) {
	token := ""
	if scope != 0 {
		token = scopeToken(scope)
	}
	if e := q.expression(token); e != "" {
		return collect(ctx, reader, selected+"texts t CROSS JOIN docs d ON d.id = t.rowid"+joined+
			"WHERE texts MATCH ? AND t.rowid < ? ORDER BY t.rowid DESC LIMIT ?", e, int64(p.Below), p.Limit)
	}
	return collect(ctx, reader, selected+"docs d"+joined+"WHERE d.id < ? ORDER BY d.id DESC LIMIT ?", int64(p.Below), p.Limit)
}

func collect(ctx context.Context, reader *sql.DB, statement string, args ...any) (hits []Hit, err error) {
	rows, err := reader.QueryContext(ctx, statement, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close() //nolint:errcheck // Err says it
	for rows.Next() {
		var h Hit
		var id int64
		if err := rows.Scan(&id, &h.Scope, &h.Name); err != nil {
			return hits, err
		}
		h.Order = uint64(id)
		hits = append(hits, h)
	}
	return hits, rows.Err()
}
