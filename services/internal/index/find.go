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
	err = x.with(ctx, func(reader, _ *sql.DB) error {
		statement, args, err := finding(ctx, reader, q, p)
		if err != nil || statement == "" {
			return err
		}
		rows, err := reader.QueryContext(ctx, statement, args...)
		if err != nil {
			return err
		}
		defer rows.Close() //nolint:errcheck // Err says it
		for rows.Next() {
			var h Hit
			var id int64
			if err := rows.Scan(&id, &h.Scope, &h.Name); err != nil {
				return err
			}
			h.Order = uint64(id)
			hits = append(hits, h)
		}
		return rows.Err()
	})
	return hits, err
}

// finding makes the statement; none if the scope is not in the index.
func finding(ctx context.Context, reader *sql.DB, q Query, p Page) (statement string, args []any, err error) {
	var scope int64
	if p.Scope != "" {
		err := reader.QueryRowContext(ctx, "SELECT n FROM scopes WHERE id = ?", p.Scope).Scan(&scope)
		if errors.Is(err, sql.ErrNoRows) {
			return "", nil, nil
		}
		if err != nil {
			return "", nil, err
		}
	}
	below := int64(p.Below)
	if p.Below == 0 {
		below = 1<<63 - 1
	}
	const columns = "SELECT d.id, s.id, d.name FROM "
	const scopes = " CROSS JOIN scopes s ON s.n = d.scope "
	token := ""
	if scope != 0 {
		token = scopeToken(scope)
	}
	if e := q.expression(token); e != "" {
		return columns + "texts t CROSS JOIN docs d ON d.id = t.rowid" + scopes +
			"WHERE texts MATCH ? AND t.rowid < ? ORDER BY t.rowid DESC LIMIT ?", []any{e, below, p.Limit}, nil
	}
	return columns + "docs d" + scopes + "WHERE d.id < ? ORDER BY d.id DESC LIMIT ?", []any{below, p.Limit}, nil
}
