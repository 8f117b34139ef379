package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	antonv1 "anthill/gen/anton/v1"
)

const (
	uploadPart = 256 << 10             // bytes of a message
	pollFirst  = 50 * time.Millisecond // between two looks at a file that is being read, to begin with
	pollLast   = time.Second
	takeBackIn = 5 * time.Second
)

// uploader brings files to the server for a question.
type uploader struct {
	conn     *client
	progress io.Writer
	ids      []string // of what was uploaded
}

// attach uploads the files and waits until the server has read them. A file that
// cannot be read is said to be so: the agent may still find a use for it.
func (u *uploader) attach(ctx context.Context, f askFlags) (err error) {
	if len(f.files) == 0 {
		return nil
	}
	files, err := openAll(f.files)
	defer func() {
		for _, file := range files {
			err = errors.Join(err, file.Close())
		}
	}()
	if err != nil {
		return err
	}
	project, err := u.projectOf(ctx, f)
	if err != nil {
		return err
	}
	list, err := u.upload(ctx, project, files)
	if err != nil && project != "" {
		return fmt.Errorf("upload to project %s: %w", project, err)
	}
	if err != nil {
		return fmt.Errorf("upload: %w", err)
	}
	for _, a := range list {
		u.ids = append(u.ids, a.Id)
	}
	for _, a := range list {
		if err := u.await(ctx, a); err != nil {
			u.takeBack(ctx)
			return err
		}
	}
	return nil
}

// openAll opens plain files. Those that were opened come beside an error, too.
func openAll(paths []string) (files []*os.File, err error) {
	for _, path := range paths {
		if path == "-" {
			return files, errors.New("--file -: standard input is no file: give the path of one (a question of \"-\" is read from standard input)")
		}
		info, err := os.Stat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return files, fmt.Errorf("--file %s: there is no such file", path)
		case err != nil:
			return files, fmt.Errorf("--file %s: %w", path, cause(err))
		case info.IsDir():
			return files, fmt.Errorf("--file %s: it is a folder: name the files in it, each with its own --file", path)
		case !info.Mode().IsRegular():
			return files, fmt.Errorf("--file %s: it is not a plain file: save what it gives in one first", path)
		}
		file, err := os.Open(path)
		if err != nil {
			return files, fmt.Errorf("--file %s: %w", path, cause(err))
		}
		files = append(files, file)
	}
	return files, nil
}

// cause is an error of a file without the path, which is said already.
func cause(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err
	}
	return err
}

// projectOf is where the files go: to the conversation's project if there is one.
func (u *uploader) projectOf(ctx context.Context, f askFlags) (string, error) {
	if f.conversation == "" {
		return f.project, nil
	}
	c, err := antonv1.NewConversationsServiceClient(u.conn).GetConversation(u.conn.with(ctx), &antonv1.GetConversationRequest{Id: f.conversation})
	switch {
	case status.Code(err) == codes.NotFound:
		return f.project, nil
	case err != nil:
		return "", u.failed(ctx, err)
	}
	return c.Project, nil
}

// upload sends all files in one call, so that the server keeps all or none. They
// belong to no conversation yet: the turn gives them its own.
func (u *uploader) upload(ctx context.Context, project string, files []*os.File) ([]*antonv1.Attachment, error) {
	ctx, cancel := context.WithCancel(u.conn.with(ctx))
	defer cancel()
	stream, err := antonv1.NewAttachmentsServiceClient(u.conn).UploadAttachments(ctx)
	if err != nil {
		return nil, u.failed(ctx, err)
	}
	send := func(m *antonv1.UploadAttachmentsRequest) error {
		err := stream.Send(m)
		if errors.Is(err, io.EOF) { // the server ended the call, and its answer says why
			_, err = stream.CloseAndRecv()
		}
		if err != nil {
			err = u.failed(ctx, err)
		}
		return err
	}
	buf := make([]byte, uploadPart)
	for _, file := range files {
		name := filepath.Base(file.Name())
		u.note("  ↑ %s", name)
		if err := send(&antonv1.UploadAttachmentsRequest{Part: &antonv1.UploadAttachmentsRequest_Header{
			Header: &antonv1.AttachmentHeader{Project: project, Name: name}}}); err != nil {
			return nil, err
		}
		for {
			n, err := file.Read(buf)
			if n > 0 {
				if err := send(&antonv1.UploadAttachmentsRequest{Part: &antonv1.UploadAttachmentsRequest_Data{Data: buf[:n]}}); err != nil {
					return nil, err
				}
			}
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return nil, fmt.Errorf("--file %s: %w", file.Name(), cause(err))
			}
		}
	}
	out, err := stream.CloseAndRecv()
	if err != nil {
		return nil, u.failed(ctx, err)
	}
	return out.Attachments, nil
}

// await looks at an attachment until the server has read it, or has failed to.
func (u *uploader) await(ctx context.Context, a *antonv1.Attachment) error {
	client := antonv1.NewAttachmentsServiceClient(u.conn)
	told := false
	for wait := pollFirst; a.Status == "processing"; wait = min(2*wait, pollLast) {
		if wait == pollLast && !told {
			told = true
			u.note("  · %s is being read", a.Name)
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return exitCode(130)
		}
		var err error
		if a, err = client.GetAttachment(u.conn.with(ctx), &antonv1.GetAttachmentRequest{Id: a.Id}); err != nil {
			return u.failed(ctx, err)
		}
	}
	if a.Status == "failed" {
		u.note("  ! %s could not be read: %s", a.Name, a.Reason)
		return nil
	}
	u.note("  · %s is ready", a.Name)
	return nil
}

// takeBack deletes what was uploaded for a question that was not asked. What
// goes wrong is only said: the question's own error matters more.
func (u *uploader) takeBack(ctx context.Context) {
	ctx, cancel := context.WithTimeout(u.conn.with(context.WithoutCancel(ctx)), takeBackIn)
	defer cancel()
	for _, id := range u.ids {
		if _, err := antonv1.NewAttachmentsServiceClient(u.conn).DeleteAttachment(ctx, &antonv1.DeleteAttachmentRequest{Id: id}); err != nil {
			u.note("  ! attachment %s stays on the server: %v", id, u.conn.explain(err))
		}
	}
}

// failed is an error of a call in words; Ctrl-C needs none.
func (u *uploader) failed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return exitCode(130)
	}
	return u.conn.explain(err)
}

// note tells how far it is. Nobody may be there to read it.
func (u *uploader) note(format string, args ...any) {
	_, _ = fmt.Fprintln(u.progress, printable(fmt.Sprintf(format, args...)))
}
