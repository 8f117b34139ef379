package projects

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
	"unicode"

	"google.golang.org/protobuf/proto"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/fault"
	"anthill/services/internal/store"
	"anthill/services/internal/store/key"
	"anthill/services/internal/workspace"
)

const (
	attachmentMax      = 100 << 20 // bytes of one file
	attachmentsOfCall  = 50
	attachmentsOf      = 500 // one session
	uploadsDir         = ".anton/uploads"
	textFile           = ".extracted.txt" // beside an attachment, whose own name never begins with a dot
	attachmentsTopic   = "attachments"
	attachmentsKept    = 10_000 // events that a late reader can go on from
	listedAttachments  = 500
	listMost           = 1000
	previewMax         = 300 // runes
	attachmentIDPrefix = "att_"
	// provisional begins the session ids of clients that have no conversation yet.
	provisional = "tmp-"
)

// attachmentStatus is how far an attachment is. Only the first three are shown.
type attachmentStatus string

const (
	statusProcessing attachmentStatus = "processing" // its text is being read
	statusReady      attachmentStatus = "ready"
	statusFailed     attachmentStatus = "failed"
	statusReceiving  attachmentStatus = "receiving" // its bytes are coming in
	statusMoving     attachmentStatus = "moving"    // it becomes the project's file Target
	statusDeleting   attachmentStatus = "deleting"  // gone for every reader; its files are being removed

	// rehoming stands in the index, beside the status, for one with a Rehome.
	rehoming attachmentStatus = "rehoming"
)

// unfinished are the states that a worker brings to an end.
var unfinished = []attachmentStatus{statusDeleting, statusMoving, rehoming, statusProcessing}

// attachment is one in the store. The file is in the folder of its project.
type attachment struct {
	Seq       uint64 `json:"seq"` // orders attachments; also the key
	ID        string `json:"id"`
	ProjectID string `json:"project_id"`
	Session   string `json:"session"`
	// Pending says that Session is no conversation's yet: the first turn that
	// uses the attachment gives it one.
	Pending   bool             `json:"pending,omitempty"`
	Dir       string           `json:"dir"`  // folder in uploadsDir: the session it was brought to
	File      string           `json:"file"` // name on disk
	Name      string           `json:"name"` // as its owner calls it
	MIME      string           `json:"mime"`
	Size      int64            `json:"size"`
	SHA256    string           `json:"sha256"`
	Status    attachmentStatus `json:"status"`
	Reason    string           `json:"reason,omitempty"`
	Text      int              `json:"text,omitempty"` // bytes of textFile
	Truncated bool             `json:"truncated,omitempty"`
	Preview   string           `json:"preview,omitempty"`
	Target    string           `json:"target,omitempty"` // name in the project, while it moves there
	Rehome    string           `json:"rehome,omitempty"` // id of the project that the files are to go to
	Created   int64            `json:"created"`          // ms
	Updated   int64            `json:"updated"`          // ms
}

// folder is where an attachment's files are, in the project.
func (a *attachment) folder() string { return path.Join(uploadsDir, a.Dir, a.ID) }

func (a *attachment) path() string { return path.Join(a.folder(), a.File) }

func (a *attachment) textPath() string { return path.Join(a.folder(), textFile) }

func (a *attachment) isImage() bool {
	return strings.HasPrefix(a.MIME, "image/") && a.MIME != "image/svg+xml"
}

func (a *attachment) visible() bool {
	return a.Status == statusProcessing || a.Status == statusReady || a.Status == statusFailed
}

// home is the project that the files are in, or will be.
func (a *attachment) home() string { return cmp.Or(a.Rehome, a.ProjectID) }

const (
	byAttachmentID = "id"
	bySession      = "session"
	byProject      = "project"
	byUnfinished   = "unfinished"
)

var attachments = store.NewTable(store.TableOptions[attachment]{
	Name: "attachments",
	Key:  func(a *attachment) key.Key { return key.Key(nil).Uint(a.Seq) },
	Indexes: []store.Index[attachment]{
		{Name: byAttachmentID, Unique: true, Keys: func(a *attachment) []key.Key { return []key.Key{key.Of(a.ID)} }},
		{Name: bySession, Keys: func(a *attachment) []key.Key { return []key.Key{key.Of(a.Session)} }},
		{Name: byProject, Keys: func(a *attachment) []key.Key { return []key.Key{key.Of(a.ProjectID)} }},
		{Name: byUnfinished, Keys: func(a *attachment) []key.Key {
			var states []key.Key
			if a.Status != statusReady && a.Status != statusFailed {
				states = append(states, key.Of(string(a.Status)))
			}
			if a.Rehome != "" && a.visible() {
				states = append(states, key.Of(string(rehoming)))
			}
			return states
		}},
	},
})

func attachmentByID(rd store.Reader, id string) (*attachment, error) {
	return attachments.Lookup(rd, byAttachmentID, key.Of(id))
}

// putChanged writes an attachment that is there for readers and says so in the log.
func putChanged(tx store.Tx, a *attachment) error {
	logAttachment(tx, &antonv1.AttachmentEvent{Event: &antonv1.AttachmentEvent_Changed{
		Changed: &antonv1.AttachmentChanged{AttachmentId: a.ID}}})
	return attachments.Put(tx, a)
}

// tombstone makes an attachment gone for readers.
func tombstone(tx store.Tx, a *attachment) error {
	if a.visible() {
		logAttachment(tx, &antonv1.AttachmentEvent{Event: &antonv1.AttachmentEvent_Deleted{
			Deleted: &antonv1.AttachmentDeleted{AttachmentId: a.ID}}})
	}
	a.Status = statusDeleting
	return attachments.Put(tx, a)
}

func logAttachment(tx store.Tx, ev *antonv1.AttachmentEvent) uint64 {
	b, err := proto.Marshal(ev)
	if err != nil {
		panic(fmt.Sprintf("encode attachment event: %v", err)) // ids are our own
	}
	seq := tx.Append(attachmentsTopic, b)
	tx.Trim(attachmentsTopic, attachmentsKept)
	return seq
}

func newAttachmentID() string {
	var b [8]byte
	rand.Read(b[:]) // never fails: it ends the program instead
	return attachmentIDPrefix + hex.EncodeToString(b[:])
}

var (
	attachmentIDs = regexp.MustCompile(`^att_[0-9a-f]{16}$`)
	sessionIDs    = regexp.MustCompile(`^[A-Za-z0-9._~-]{1,128}$`)
)

func checkAttachmentID(id string) error {
	if !attachmentIDs.MatchString(id) {
		return fault.New(fault.Invalid, "INVALID_ATTACHMENT_ID", "Invalid attachment id")
	}
	return nil
}

// checkSession lets the ids pass that conversations may have, but for those that
// are no name of a folder.
func checkSession(id string) error {
	if !sessionIDs.MatchString(id) || strings.Trim(id, ".") == "" {
		return fault.New(fault.Invalid, "INVALID_SESSION_ID",
			"A session id has 1 to 128 letters, digits, '.', '_', '~' or '-'")
	}
	return nil
}

func errNoAttachment() error { return fault.Missing("ATTACHMENT_NOT_FOUND", "Attachment not found") }

type attachmentsService struct {
	antonv1.UnimplementedAttachmentsServiceServer
	room *Room
}

func (s attachmentsService) ListAttachments(ctx context.Context, q *antonv1.ListAttachmentsRequest) (*antonv1.ListAttachmentsResponse, error) {
	limit := int(q.Limit)
	switch {
	case limit == 0:
		limit = listedAttachments
	case limit < 0 || limit > listMost:
		return nil, fault.BadField("value_error", fmt.Sprintf("Input should be from 1 to %d", listMost), "limit")
	}
	var project string
	if q.Project != "" && q.Project != everyProject {
		p, err := s.room.resolveNamed(ctx, q.Project)
		if err != nil {
			return nil, err
		}
		project = p.ID
	}
	if q.SessionId != "" {
		if err := checkSession(q.SessionId); err != nil {
			return nil, err
		}
	}
	out := &antonv1.ListAttachmentsResponse{Attachments: []*antonv1.Attachment{}}
	err := s.room.opt.DB.View(ctx, func(rd store.Reader) error {
		for a, err := range scanAttachments(rd, project, q.SessionId) {
			if err != nil {
				return err
			}
			if len(out.Attachments) == limit {
				break
			}
			if !a.visible() || project != "" && a.ProjectID != project || len(q.Ids) > 0 && !slices.Contains(q.Ids, a.ID) {
				continue
			}
			v, err := s.room.viewAttachment(rd, a)
			if err != nil {
				return err
			}
			if v != nil {
				out.Attachments = append(out.Attachments, v)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// scanAttachments yields attachments in any state, newest first: of a session,
// else of a project, else all.
func scanAttachments(rd store.Reader, projectID, session string) iter.Seq2[*attachment, error] {
	switch {
	case session != "":
		return attachments.ScanIndex(rd, bySession, store.ScanOptions{Prefix: key.Of(session), Reverse: true})
	case projectID != "":
		return attachments.ScanIndex(rd, byProject, store.ScanOptions{Prefix: key.Of(projectID), Reverse: true})
	}
	return attachments.Scan(rd, store.ScanOptions{Reverse: true})
}

// everyProject is the name that stands for all projects in lists.
const everyProject = "all"

func (s attachmentsService) GetAttachment(ctx context.Context, q *antonv1.GetAttachmentRequest) (v *antonv1.Attachment, err error) {
	_, v, err = s.room.findAttachment(ctx, q.Id, "", "")
	return v, err
}

func (s attachmentsService) DeleteAttachment(ctx context.Context, q *antonv1.DeleteAttachmentRequest) (*antonv1.DeleteAttachmentResponse, error) {
	if _, _, err := s.room.findAttachment(ctx, q.Id, q.Project, q.SessionId); err != nil {
		return nil, err
	}
	err := s.room.update(ctx, func(tx store.Tx) error {
		a, err := attachmentByID(tx, q.Id)
		if err != nil {
			return err
		}
		if a == nil || !a.visible() {
			return errNoAttachment()
		}
		return tombstone(tx, a)
	})
	if err != nil {
		return nil, err
	}
	s.room.finishNow(ctx, q.Id)
	return &antonv1.DeleteAttachmentResponse{Ok: true}, nil
}

// findAttachment finds one that readers may see. If project or session is given
// it must be there.
func (r *Room) findAttachment(ctx context.Context, id, project, session string) (a *attachment, v *antonv1.Attachment, err error) {
	if err := checkAttachmentID(id); err != nil {
		return nil, nil, err
	}
	if session != "" {
		if err := checkSession(session); err != nil {
			return nil, nil, err
		}
	}
	err = r.opt.DB.View(ctx, func(rd store.Reader) error {
		if a, err = attachmentByID(rd, id); err != nil || a == nil || !a.visible() {
			a = nil
			return err
		}
		v, err = r.viewAttachment(rd, a)
		return err
	})
	switch {
	case err != nil:
		return nil, nil, err
	case a == nil, v == nil, project != "" && v.Project != project, session != "" && a.Session != session:
		return nil, nil, errNoAttachment()
	}
	return a, v, nil
}

// viewAttachment shows an attachment; nil if its project is deleted.
func (r *Room) viewAttachment(rd store.Reader, a *attachment) (*antonv1.Attachment, error) {
	p, ok, err := r.LookupID(rd, a.ProjectID)
	if err != nil || !ok {
		return nil, err
	}
	v := &antonv1.Attachment{Id: a.ID, Name: a.Name, Mime: a.MIME, Size: float64(a.Size), Filename: a.Name, Bytes: float64(a.Size), Path: path.Join(p.Path, a.path()),
		CreatedAt: naive(a.Created), UpdatedAt: naive(a.Updated), Status: string(a.Status), Reason: a.Reason,
		Project: p.Name, SessionId: a.Session, Sha256: a.SHA256, TextPreview: a.Preview, TextLength: float64(a.Text), Truncated: a.Truncated}
	if a.Text > 0 {
		v.TextPath = path.Join(p.Path, a.textPath())
	}
	return v, nil
}

// naive is a time as the reference has them for files: local, without a zone
// (contract 8).
func naive(ms int64) string { return time.UnixMilli(ms).Format("2006-01-02T15:04:05.000000") }

// inProject runs fn on the root of a project's folder, wherever it is by now.
// NotFound: PROJECT_NOT_FOUND, or fs.ErrNotExist if the folder is gone.
func (r *Room) inProject(ctx context.Context, id string, fn func(p Project, root *os.Root) error) error {
	p, root, err := r.openRoot(ctx, id)
	if err != nil {
		return err
	}
	return errors.Join(fn(p, root), root.Close())
}

func (r *Room) openRoot(ctx context.Context, id string) (Project, *os.Root, error) {
	r.folders.RLock()
	defer r.folders.RUnlock()
	p, ok, err := r.ByID(ctx, id)
	if err != nil {
		return p, nil, err
	}
	if !ok {
		return p, nil, errNoProject()
	}
	if !isDir(p.Path) {
		return p, nil, fmt.Errorf("projects: folder of %s: %w", id, fs.ErrNotExist)
	}
	root, err := os.OpenRoot(p.Path)
	return p, root, err
}

// removeFiles removes what an attachment has on disk. What is gone is gone.
func (r *Room) removeFiles(ctx context.Context, a *attachment) error {
	err := r.removeFilesIn(ctx, a, a.ProjectID)
	if a.Rehome != "" {
		err = errors.Join(err, r.removeFilesIn(ctx, a, a.Rehome))
	}
	return err
}

func (r *Room) removeFilesIn(ctx context.Context, a *attachment, projectID string) error {
	err := r.inProject(ctx, projectID, func(_ Project, root *os.Root) error {
		if _, err := root.Lstat(a.folder()); err != nil {
			return absent(err)
		}
		if err := removeTree(ctx, root, a.folder()); err != nil {
			return err
		}
		return r.removeEmpty(root, path.Dir(a.folder()))
	})
	if isGone(err) {
		return nil
	}
	return err
}

// absent turns an error of looking for a file into nil if the file is not there,
// or not in the folder because a link leads out of it.
func absent(err error) error {
	var refused *fs.PathError
	var system syscall.Errno
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ELOOP):
		return nil
	case errors.As(err, &refused) && !errors.As(err, &system): // os.Root itself
		return nil
	}
	return err
}

// removeEmpty removes a session's folder unless something is in it, and makes
// what was removed from it stay so. No upload begins meanwhile: it could lose
// the folder between making and using it.
func (r *Room) removeEmpty(root *os.Root, dir string) error {
	r.uploads.Lock()
	defer r.uploads.Unlock()
	at := dir
	if root.Remove(dir) == nil { // an error: it is not empty, or gone
		at = path.Dir(dir)
	}
	return syncDir(root, at)
}

// syncDir makes renames and removals in a folder survive a power loss.
func syncDir(root *os.Root, name string) error {
	dir, err := root.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// isGone says that a project, its folder or a file does not exist (any more).
func isGone(err error) bool {
	f, ok := errors.AsType[*fault.Error](err)
	return errors.Is(err, fs.ErrNotExist) || ok && f.Reason == reasonNoProject
}

// fileName makes a name fit for any file system, keeping its extension: 140
// runes at most, as the reference has it, and no more bytes than a file system takes.
func fileName(name string) string {
	var b strings.Builder
	for _, c := range name {
		if strings.ContainsRune(`/\:*?"<>|`, c) || unicode.IsControl(c) || unicode.Is(unicode.Bidi_Control, c) {
			c = '_'
		}
		b.WriteRune(c)
	}
	clean := strings.Trim(strings.TrimLeft(b.String(), ". "), " .")
	ext := path.Ext(clean)
	if len(ext) > 16 {
		ext = ""
	}
	stem := []rune(strings.TrimSuffix(clean, ext))
	stem = stem[:min(len(stem), 140-len([]rune(ext)))]
	for len(string(stem))+len(ext) > 200 {
		stem = stem[:len(stem)-1]
	}
	if clean = string(stem) + ext; clean == "" {
		return "file"
	}
	if _, err := workspace.Clean(clean); err != nil {
		return "file" + ext
	}
	return clean
}
