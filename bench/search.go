package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	_ "modernc.org/sqlite" // the reference of the search row
)

const (
	searchRooms     = 100
	searchWriters   = 32
	searchQueries   = 1000
	searchBatch     = 20_000 // rows in one transaction of the reference
	targetIndexing  = 1.3
	targetSearching = 1.5
)

// search makes the index of a home full of messages and asks it, beside SQLite's
// FTS5 with the same texts in this process, without a server around it: the
// difference is what keeping the truth elsewhere, and REST, cost.
func (b *bench) search(ctx context.Context) (_ []result, err error) {
	texts := chatter(b.found)
	dir := filepath.Join(b.dir, "search")
	if err := b.post(ctx, dir, texts); err != nil {
		return nil, fmt.Errorf("fill the home: %w", err)
	}
	var built, asked pairs
	terms := frequentAndRare(searchQueries)
	for range max(1, b.rounds/2) {
		p, took, err := b.index(ctx, dir)
		if err != nil {
			return nil, err
		}
		db, alone, err := indexAlone(ctx, filepath.Join(b.dir, "alone.db"), texts)
		if err != nil {
			return nil, errors.Join(err, p.stop())
		}
		built.ours, built.reference = append(built.ours, took), append(built.reference, alone)
		ours, err := p99(terms, askREST(p.addr))
		if err != nil {
			return nil, errors.Join(err, p.stop(), db.Close())
		}
		reference, err := p99(terms, func(term string) (int, error) { return askAlone(ctx, db, term) })
		if err := errors.Join(err, p.stop(), db.Close()); err != nil {
			return nil, err
		}
		asked.ours, asked.reference = append(asked.ours, ours), append(asked.reference, reference)
	}
	if err := os.RemoveAll(dir); err != nil {
		return nil, err
	}
	what := fmt.Sprintf("search, %d messages: ", len(texts))
	return []result{
		atMost(what+"index, CPU", func(s float64) string { return fmt.Sprintf("%.1f s", s) }, built, targetIndexing),
		atMost(what+"query p99 over REST", millis, asked, targetSearching),
	}, nil
}

// atMost is the line of a cost: what anthill takes of what the reference takes.
func atMost(path string, print func(float64) string, p pairs, target float64) result {
	ratio := median(p.ratios())
	return result{path: path, anthill: print(median(p.ours)), reference: print(median(p.reference)),
		ratio: fmt.Sprintf("%.2f", ratio), target: fmt.Sprintf("<= %.2f", target), verdict: verdict(ratio <= target)}
}

// chatter makes messages of 5 to 25 words, the same ones every time.
func chatter(n int) []string {
	r := rand.New(rand.NewPCG(1, 2))
	texts := make([]string, n)
	for i := range texts {
		var b strings.Builder
		for range 5 + r.IntN(21) {
			b.WriteString(word(int(r.ExpFloat64() * 300)))
			b.WriteByte(' ')
		}
		texts[i] = b.String()
	}
	return texts
}

// word is the one with a rank: two to five syllables.
func word(rank int) string {
	const consonants, vowels = "bdfghklmnprstvwz", "aeiou"
	r := rand.New(rand.NewPCG(3, uint64(rank)))
	var b strings.Builder
	for range 2 + r.IntN(4) {
		b.WriteByte(consonants[r.IntN(len(consonants))])
		b.WriteByte(vowels[r.IntN(len(vowels))])
	}
	return b.String()
}

// frequentAndRare are words of all ranks that occur.
func frequentAndRare(n int) []string {
	terms := make([]string, n)
	for i := range terms {
		terms[i] = word(i * 2000 / n)
	}
	return terms
}

// post fills a home over REST.
func (b *bench) post(ctx context.Context, dir string, texts []string) (err error) {
	p, err := b.serve(ctx, dir, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: searchWriters}}
	defer client.CloseIdleConnections()
	send := func(path string, body map[string]string, into any) error {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		q, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+p.addr+path, bytes.NewReader(text))
		if err != nil {
			return err
		}
		q.Header.Set("Content-Type", "application/json")
		answer, err := client.Do(q)
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		got, err := io.ReadAll(answer.Body)
		if err != nil || answer.StatusCode != http.StatusCreated {
			return errors.Join(err, fmt.Errorf("%s: %s: %s", path, answer.Status, got))
		}
		return json.Unmarshal(got, into)
	}
	var rooms []string
	for i := range searchRooms {
		var made struct{ ID string }
		if err := send("/api/sessions", map[string]string{"name": fmt.Sprint("bench ", i), "type": "chat"}, &made); err != nil {
			return err
		}
		rooms = append(rooms, made.ID)
	}
	var all errgroup.Group
	for w := range searchWriters {
		all.Go(func() error {
			for i := w; i < len(texts); i += searchWriters {
				if err := send("/api/sessions/"+rooms[i%len(rooms)]+"/messages", map[string]string{"role": "user", "content": texts[i]}, &struct{}{}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return all.Wait()
}

// index starts a server on a home that has lost its index, waits until it is made
// again, and returns the server with the seconds of processor time that it took
// since its start.
func (b *bench) index(ctx context.Context, dir string) (*process, float64, error) {
	if err := os.RemoveAll(filepath.Join(dir, "home", "search")); err != nil {
		return nil, 0, err
	}
	p, err := b.serve(ctx, dir, nil)
	if err != nil {
		return nil, 0, err
	}
	for {
		if err := ctx.Err(); err != nil {
			return nil, 0, errors.Join(err, p.stop())
		}
		body, err := once(p.addr, request(http.MethodGet, p.addr, "/api/search?q=nothing", ""))
		var answer struct{ Partial bool }
		if err == nil {
			err = json.Unmarshal(body, &answer)
		}
		if err != nil {
			return nil, 0, errors.Join(err, p.stop())
		}
		if !answer.Partial {
			break
		}
	}
	// What is left to do in the background counts, too.
	for before := -1.0; ; {
		took, err := p.processor()
		if err != nil {
			return nil, 0, errors.Join(err, p.stop())
		}
		if took-before < 0.02 {
			return p, took, nil
		}
		before = took
		time.Sleep(2 * time.Second)
	}
}

// processor is the time that a process has had, in seconds.
func (p *process) processor() (float64, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	user, err := strconv.ParseFloat(fields[11], 64)
	system, err2 := strconv.ParseFloat(fields[12], 64)
	return (user + system) / 100, errors.Join(err, err2) // ticks of 10 ms
}

// indexAlone does the same with nothing but FTS5, in this process.
func indexAlone(ctx context.Context, path string, texts []string) (_ *sql.DB, seconds float64, err error) {
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.RemoveAll(path + suffix); err != nil {
			return nil, 0, err
		}
	}
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=journal_mode(wal)&_pragma=synchronous(normal)")
	if err != nil {
		return nil, 0, err
	}
	db.SetMaxOpenConns(1)
	defer func() {
		if err != nil {
			err = errors.Join(err, db.Close())
		}
	}()
	began := ownProcessor()
	if _, err := db.ExecContext(ctx, `CREATE VIRTUAL TABLE messages USING fts5(text, tokenize = 'trigram')`); err != nil {
		return nil, 0, err
	}
	for i := 0; i < len(texts); i += searchBatch {
		if err := insertAlone(ctx, db, i, texts[i:min(i+searchBatch, len(texts))]); err != nil {
			return nil, 0, err
		}
	}
	return db, ownProcessor() - began, nil
}

func insertAlone(ctx context.Context, db *sql.DB, from int, texts []string) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // after a commit there is nothing to undo
	insert, err := tx.PrepareContext(ctx, "INSERT INTO messages (rowid, text) VALUES (?, ?)")
	if err != nil {
		return err
	}
	for i, text := range texts {
		if _, err := insert.ExecContext(ctx, from+i+1, text); err != nil {
			return err
		}
	}
	return tx.Commit()
}

func ownProcessor() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

// p99 asks for each term and returns the time that 99 of 100 do not exceed, in
// nanoseconds.
func p99(terms []string, ask func(string) (int, error)) (float64, error) {
	took := make([]time.Duration, 0, len(terms))
	found := 0
	for _, term := range terms {
		began := time.Now()
		n, err := ask(term)
		if err != nil {
			return 0, err
		}
		took = append(took, time.Since(began))
		found += n
	}
	if found == 0 {
		return 0, errors.New("no term was found")
	}
	return float64(percentile(took, 0.99)), nil
}

func askREST(addr string) func(string) (int, error) {
	return func(term string) (int, error) {
		answer, err := http.Get("http://" + addr + "/api/search?limit=50&q=" + url.QueryEscape(term))
		if err != nil {
			return 0, err
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		return bytes.Count(body, []byte(`"snippet"`)), err
	}
}

func askAlone(ctx context.Context, db *sql.DB, term string) (n int, err error) {
	rows, err := db.QueryContext(ctx, `SELECT rowid, text, snippet(messages, 0, '<mark>', '</mark>', '...', 32) FROM messages
		WHERE messages MATCH ? ORDER BY rowid DESC LIMIT 50`, `"`+term+`"`)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	for rows.Next() {
		var id int
		var text, snippet string
		if err := rows.Scan(&id, &text, &snippet); err != nil {
			return 0, err
		}
		n++
	}
	return n, rows.Err()
}
