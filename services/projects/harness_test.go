package projects

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/documents"
	"anthill/services/internal/fault"
	"anthill/services/internal/store"
	"anthill/services/internal/store/bolt"
	"anthill/services/internal/store/storetest"
)

// house is a room over a real store and a real folder, and clients of it.
type house struct {
	t        *testing.T
	db       store.DB
	dir      string
	room     *Room
	projects antonv1.ProjectsServiceClient
	files    antonv1.ProjectFilesServiceClient
	attached antonv1.AttachmentsServiceClient
	made     antonv1.ArtifactsServiceClient
	convs    *fakeConversations
	log      *lockedBuffer
	calls    sync.WaitGroup // streams under way
	reading  func(ctx context.Context, name string, file *os.File) (documents.Text, error)
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// fakeConversations notes what it is asked and fails the first fails times.
type fakeConversations struct {
	mu    sync.Mutex
	fails int
	asked []string
}

func (f *fakeConversations) DeleteProject(_ context.Context, id string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, id)
	if f.fails > 0 {
		f.fails--
		return errors.New("the conversations are not ready")
	}
	return nil
}

func (f *fakeConversations) calls() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.asked)
}

// cut loses power: after left updates the rest fail.
type cut struct {
	store.DB
	left atomic.Int64
}

var errCut = errors.New("power cut")

func (d *cut) Update(ctx context.Context, fn func(store.Tx) error) error {
	if d.left.Add(-1) < 0 {
		return errCut
	}
	return d.DB.Update(ctx, fn)
}

func newStore(t *testing.T) store.DB {
	t.Helper()
	db, err := bolt.Open(bolt.Options{Path: filepath.Join(t.TempDir(), "main.db"), Limits: store.MainLimits, Gather: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return storetest.RunTwice(db)
}

func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{t: t, db: newStore(t), dir: filepath.Join(t.TempDir(), "projects"),
		convs: &fakeConversations{}, log: &lockedBuffer{}}
	h.open(h.db)
	return h
}

var lastID atomic.Int64

func (h *house) options(db store.DB) Options {
	return Options{DB: db, Dir: h.dir, Now: time.Now, Conversations: h.convs,
		NewID: func(prefix string) string { return fmt.Sprintf("%s%04d", prefix, lastID.Add(1)) },
		Log:   slog.New(slog.NewTextHandler(h.log, nil)),
		Read: func(ctx context.Context, name string, file *os.File) (documents.Text, error) {
			if h.reading != nil {
				return h.reading(ctx, name, file)
			}
			return readHere(ctx, name, file)
		},
		retry: func(int) time.Duration { return 0 }}
}

// open opens the room and serves it until it is closed or the test ends.
func (h *house) open(db store.DB) {
	h.t.Helper()
	room, err := Open(h.t.Context(), h.options(db))
	if err != nil {
		h.t.Fatal(err)
	}
	h.serve(room)
}

func (h *house) serve(room *Room) {
	h.t.Helper()
	h.room = room
	h.t.Cleanup(h.close)
	lis := bufconn.Listen(1 << 20)
	srv := grpc.NewServer(
		grpc.UnaryInterceptor(func(ctx context.Context, q any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			a, err := next(ctx, q)
			return a, asStatus(err)
		}),
		grpc.StreamInterceptor(func(s any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
			h.calls.Add(1)
			defer h.calls.Done()
			return asStatus(next(s, ss))
		}))
	room.Register(srv)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(lis) }()
	h.t.Cleanup(func() {
		srv.Stop()
		if err := <-served; err != nil {
			h.t.Error(err)
		}
	})
	conn, err := grpc.NewClient("passthrough:///room", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return lis.DialContext(ctx) }))
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			h.t.Error(err)
		}
	})
	h.projects, h.files = antonv1.NewProjectsServiceClient(conn), antonv1.NewProjectFilesServiceClient(conn)
	h.attached, h.made = antonv1.NewAttachmentsServiceClient(conn), antonv1.NewArtifactsServiceClient(conn)
}

// readHere reads a document in this process, as the files of tests are harmless.
func readHere(ctx context.Context, name string, file *os.File) (documents.Text, error) {
	info, err := file.Stat()
	if err != nil {
		return documents.Text{}, err
	}
	return documents.Extract(ctx, documents.Source{Name: name, Data: file, Size: info.Size()}, documents.DefaultLimits)
}

func asStatus(err error) error {
	if err == nil {
		return nil
	}
	st, ok := fault.Status(err, "x")
	if !ok {
		return status.Errorf(st.Code(), "not a fault: %v", err)
	}
	return st.Err()
}

func (h *house) close() {
	h.t.Helper()
	if err := h.room.Close(context.Background()); err != nil {
		h.t.Error(err)
	}
}

// reopen is a restart.
func (h *house) reopen() {
	h.t.Helper()
	h.close()
	h.open(h.db)
}

func (h *house) create(name string) *antonv1.ProjectNamed {
	h.t.Helper()
	p, err := h.projects.CreateProject(h.t.Context(), &antonv1.CreateProjectRequest{Name: &name})
	if err != nil {
		h.t.Fatalf("create %q: %v", name, err)
	}
	if !isDir(p.Path) || p.Path != filepath.Join(h.dir, p.Name) || p.Requested != name || p.Renamed != (name != p.Name) {
		h.t.Fatalf("create %q: %v", name, p)
	}
	return p
}

func (h *house) rename(from, to string) (*antonv1.ProjectNamed, error) {
	return h.projects.RenameProject(h.t.Context(), &antonv1.RenameProjectRequest{Project: from, Name: &to})
}

func (h *house) delete(name string) error {
	_, err := h.projects.DeleteProject(h.t.Context(), &antonv1.DeleteProjectRequest{Project: name})
	return err
}

func (h *house) setActive(name string) error {
	_, err := h.projects.SetActiveProject(h.t.Context(), &antonv1.SetActiveProjectRequest{Name: &name})
	return err
}

func (h *house) active() string {
	h.t.Helper()
	a, err := h.projects.GetActiveProject(h.t.Context(), &antonv1.GetActiveProjectRequest{})
	if err != nil {
		h.t.Fatal(err)
	}
	return a.Name
}

// list gives the names in the order of the answer.
func (h *house) list() []string {
	h.t.Helper()
	l, err := h.projects.ListProjects(h.t.Context(), &antonv1.ListProjectsRequest{})
	if err != nil {
		h.t.Fatal(err)
	}
	names := make([]string, len(l.Projects))
	for i, p := range l.Projects {
		names[i] = p.Name
		if p.Path != filepath.Join(h.dir, p.Name) || p.Id == "" {
			h.t.Errorf("listed as %v", p)
		}
	}
	return names
}

func (h *house) wantList(names ...string) {
	h.t.Helper()
	if got := h.list(); !slices.Equal(got, names) {
		h.t.Fatalf("projects %q, want %q", got, names)
	}
}

func (h *house) id(name string) string {
	h.t.Helper()
	p, err := h.room.Resolve(h.t.Context(), name)
	if err != nil {
		h.t.Fatal(err)
	}
	return p.ID
}

func (h *house) mkdir(name string) {
	h.t.Helper()
	if err := os.MkdirAll(filepath.Join(h.dir, name), 0o755); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) put(name, content string) {
	h.t.Helper()
	if err := os.MkdirAll(filepath.Dir(filepath.Join(h.dir, name)), 0o755); err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(h.dir, name), []byte(content), 0o644); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) remove(name string) {
	h.t.Helper()
	if err := os.RemoveAll(filepath.Join(h.dir, name)); err != nil {
		h.t.Fatal(err)
	}
}

// onDisk lists the projects folder, hidden names included.
func (h *house) onDisk() []string {
	h.t.Helper()
	entries, err := os.ReadDir(h.dir)
	if err != nil {
		h.t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func (h *house) records() []record {
	h.t.Helper()
	var all []record
	err := h.db.View(h.t.Context(), func(rd store.Reader) error {
		all = nil
		for rec, err := range records.Scan(rd, store.ScanOptions{}) {
			if err != nil {
				return err
			}
			all = append(all, *rec)
		}
		return nil
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return all
}

// wantAgreement checks that store and disk say the same.
func (h *house) wantAgreement() {
	h.t.Helper()
	var live []string
	for _, rec := range h.records() {
		if rec.Intent != nil {
			h.t.Errorf("unresolved: %+v %+v", rec, *rec.Intent)
		}
		live = append(live, rec.Name)
	}
	slices.Sort(live)
	if disk := h.onDisk(); !slices.Equal(live, disk) {
		h.t.Errorf("the store has %q, the disk %q", live, disk)
	}
}

// served waits until no streaming call runs.
func (h *house) served() { h.calls.Wait() }

// idle waits until nobody is busy with an attachment, and nothing waits to be done.
func (h *house) idle() {
	h.t.Helper()
	for {
		id, err := h.room.nextUnfinished(h.t.Context())
		if err != nil {
			h.t.Fatal(err)
		}
		h.room.jobs.mu.Lock()
		var busy <-chan struct{}
		for _, c := range h.room.jobs.claimed {
			busy = c.done
		}
		h.room.jobs.mu.Unlock()
		switch {
		case busy != nil:
			<-busy
		case id != "":
			h.room.finishNow(h.t.Context(), id)
		default:
			return
		}
	}
}

// purged waits until nothing of a deleted project is left.
func (h *house) purged() {
	h.t.Helper()
	h.room.workers.Wait()
}

// wantFault checks reason and text of an error.
func wantFault(t *testing.T, err error, reason, text string) {
	t.Helper()
	st, _ := status.FromError(err)
	for _, d := range st.Details() {
		info, ok := d.(*errdetails.ErrorInfo)
		if ok && info.Reason == reason && st.Message() == text {
			return
		}
	}
	t.Fatalf("error %v (%v), want %s %q", err, st.Details(), reason, text)
}

// fullDisk fails updates as a full disk does, while it is on.
type fullDisk struct {
	store.DB
	on atomic.Bool
}

func (d *fullDisk) Update(ctx context.Context, fn func(store.Tx) error) error {
	if d.on.Load() {
		return fmt.Errorf("commit: %w", store.ErrFull)
	}
	return d.DB.Update(ctx, fn)
}
