package projects

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"anthill/services/internal/documents"
	"anthill/services/internal/store"
	"anthill/services/internal/workspace"
)

// readTries is how often reading a text may fail by the fault of this machine.
const readTries = 5

// readText reads what an attachment says and notes how that went.
func (r *Room) readText(ctx context.Context, a *attachment) error {
	text, err := r.extract(ctx, a)
	failure, unreadable := errors.AsType[*documents.Failure](err)
	switch {
	case isGone(err):
		failure = &documents.Failure{Reason: "The file is gone."}
	case unreadable:
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil && !isFull(err) && r.jobs.failures(a.ID) >= readTries:
		r.opt.Log.ErrorContext(ctx, "attachment cannot be read", "attachment", a.ID, "error", err)
		failure = &documents.Failure{Reason: "The server could not read the file: its log says why."}
	case err != nil:
		return err
	}
	return r.update(context.WithoutCancel(ctx), func(tx store.Tx) error {
		now, err := attachmentByID(tx, a.ID)
		if err != nil || now == nil || now.Status != statusProcessing {
			return err // deleted meanwhile
		}
		now.Updated = r.opt.Now().UnixMilli()
		if text.Format.MIME != "" {
			now.MIME = text.Format.MIME
		}
		if failure != nil {
			now.Status, now.Reason = statusFailed, failure.Reason
		} else {
			now.Status, now.Text, now.Truncated, now.Preview = statusReady, len(text.Text), text.Truncated, preview(text.Text)
		}
		return putChanged(tx, now)
	})
}

// extract reads the text of an attachment and puts it beside the file.
func (r *Room) extract(ctx context.Context, a *attachment) (text documents.Text, err error) {
	f, err := r.Folder(ctx, a.ProjectID)
	if err != nil {
		return text, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	in, _, err := f.OpenReader(a.path())
	if err != nil {
		return text, notPlain(err)
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	file, ok := in.(*os.File)
	if !ok {
		return text, fmt.Errorf("projects: %T is no file of the system", in)
	}
	text, err = r.opt.Read(ctx, a.Name, file)
	if err == nil && text.Text != "" {
		err = f.WriteFile(a.textPath(), []byte(text.Text))
	}
	return text, err
}

// notPlain says that a link or a device took the place of a file.
func notPlain(err error) error {
	if errors.Is(err, workspace.ErrSpecial) || errors.Is(err, workspace.ErrPath) || errors.Is(err, workspace.ErrIsDir) {
		return &documents.Failure{Reason: "The file is gone: something else has its place."}
	}
	return err
}

// preview is the beginning of a text on one line.
func preview(text string) string {
	line := strings.Join(strings.Fields(strings.ToValidUTF8(text[:min(len(text), previewMax*8)], "")), " ")
	runes := []rune(line)
	if len(runes) <= previewMax {
		return line
	}
	cut := string(runes[:previewMax])
	if i := strings.LastIndexByte(cut, ' '); i > 0 { // at a word's end, where there are words
		return cut[:i]
	}
	return cut
}
