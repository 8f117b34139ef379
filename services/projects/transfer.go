package projects

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"google.golang.org/grpc"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/fault"
	"anthill/services/internal/workspace"
)

const (
	uploadMax   = 100 << 20 // bytes of one file
	uploadFiles = 1000      // of one call
	uploadChunk = 1 << 20   // bytes of one message
	sendChunk   = 256 << 10 // bytes of one message of a download
)

// UploadFiles stores each file when its last byte has come. A call that breaks
// off keeps the whole files that came before and nothing of the last one.
func (s filesService) UploadFiles(stream grpc.ClientStreamingServer[antonv1.UploadFilesRequest, antonv1.UploadFilesResponse]) (err error) {
	u := &upload{}
	defer func() { err = errors.Join(err, u.close()) }()
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		switch part := m.Part.(type) {
		case *antonv1.UploadFilesRequest_Header:
			err = s.nextFile(stream.Context(), u, part.Header)
		case *antonv1.UploadFilesRequest_Data:
			err = u.write(part.Data)
		default:
			err = errUpload("A part is neither a header nor data")
		}
		if err != nil {
			return err
		}
	}
	if len(u.results) == 0 {
		return errMissing("files")
	}
	if err := u.finish(); err != nil {
		return err
	}
	return stream.SendAndClose(&antonv1.UploadFilesResponse{Results: u.results})
}

// nextFile ends the file before and begins the one of h.
func (s filesService) nextFile(ctx context.Context, u *upload, h *antonv1.UploadHeader) error {
	if err := u.finish(); err != nil {
		return err
	}
	if len(u.results) == uploadFiles {
		return fault.New(fault.Exhausted, "TOO_MANY_FILES",
			"One call takes up to %d files. Those are stored: send the rest in another.", uploadFiles)
	}
	switch {
	case u.folder == nil:
		p, err := s.room.resolveNamed(ctx, h.GetProject())
		if err != nil {
			return err
		}
		if u.folder, err = s.room.Folder(ctx, p.ID); err != nil {
			return err
		}
		u.project = h.GetProject()
	case h.GetProject() != "" && h.GetProject() != u.project:
		return errUpload("One call uploads into one project")
	}
	return u.begin(h.GetName())
}

// upload is one call's state: the file that is coming in, and what became of
// those before.
type upload struct {
	project string
	folder  *workspace.Folder
	file    *workspace.Upload // nil: none, or its bytes are thrown away
	results []*antonv1.UploadResult
}

func (u *upload) begin(name string) error {
	result := &antonv1.UploadResult{Name: name}
	u.results = append(u.results, result)
	if result.Error = refusedName(name); result.Error != "" {
		return nil
	}
	file, err := u.folder.CreateUpload(name, uploadMax)
	if err != nil {
		return u.refuse(err)
	}
	u.file = file
	return nil
}

// refusedName says why a file may not have that name; empty if it may.
func refusedName(name string) string {
	switch {
	case strings.ContainsAny(name, `/\`):
		return "Folders are not accepted in a name"
	case strings.HasPrefix(name, "."):
		return "Names that begin with a dot are not accepted"
	}
	if _, err := workspace.Clean(name); err != nil {
		return "Invalid file name"
	}
	return ""
}

func (u *upload) write(data []byte) error {
	switch {
	case len(u.results) == 0:
		return errUpload("Data came before a header")
	case len(data) > uploadChunk:
		return errUpload(fmt.Sprintf("A part carries up to %d bytes", uploadChunk))
	case u.file == nil:
		return nil
	}
	if _, err := u.file.Write(data); err != nil {
		return u.refuse(errors.Join(err, u.abort()))
	}
	u.results[len(u.results)-1].Size += float64(len(data))
	return nil
}

// finish puts the file under its name.
func (u *upload) finish() error {
	if u.file == nil {
		return nil
	}
	file := u.file
	u.file = nil
	if err := file.Commit(); err != nil {
		return u.refuse(err)
	}
	u.results[len(u.results)-1].Ok = true
	return nil
}

// refuse notes why the present file is not taken, or returns what concerns the
// whole call.
func (u *upload) refuse(err error) error {
	result := u.results[len(u.results)-1]
	result.Size = 0
	switch {
	case errors.Is(err, workspace.ErrTooLarge):
		result.Error = "File exceeds 100 MiB cap"
	case errors.Is(err, workspace.ErrIsDir), errors.Is(err, fs.ErrExist):
		result.Error = "A folder has this name"
	case errors.Is(err, workspace.ErrPath), errors.Is(err, workspace.ErrSpecial):
		result.Error = "Invalid file name"
	case errors.Is(err, fs.ErrNotExist): // the folder went away under the call
		return errNoProject()
	default:
		return fileFault(err)
	}
	return nil
}

func (u *upload) abort() error {
	if u.file == nil {
		return nil
	}
	file := u.file
	u.file = nil
	return file.Abort()
}

func (u *upload) close() error {
	err := u.abort()
	if u.folder != nil {
		err = errors.Join(err, u.folder.Close())
	}
	return err
}

func errUpload(text string) error { return fault.New(fault.Invalid, "INVALID_UPLOAD", "%s", text) }

// DownloadFile sends as many bytes as the header says, or fails.
func (s filesService) DownloadFile(q *antonv1.DownloadFileRequest, stream grpc.ServerStreamingServer[antonv1.DownloadFileResponse]) error {
	name, err := cleanPath(q.Path)
	if err != nil {
		return err
	}
	return s.within(stream.Context(), q.Project, func(f *workspace.Folder) error {
		file, info, err := f.OpenReader(name)
		if err != nil {
			return fileFault(err)
		}
		return errors.Join(send(stream, file, &antonv1.ProjectFile{Path: name, Name: path.Base(name),
			Size: float64(info.Size()), Modified: seconds(info.ModTime())}, info.Size()), file.Close())
	})
}

func send(stream grpc.ServerStreamingServer[antonv1.DownloadFileResponse], file io.Reader, header *antonv1.ProjectFile, size int64) error {
	err := stream.Send(&antonv1.DownloadFileResponse{Part: &antonv1.DownloadFileResponse_Header{Header: header}})
	if err != nil {
		return err
	}
	return inChunks(file, size, func(data []byte) error {
		return stream.Send(&antonv1.DownloadFileResponse{Part: &antonv1.DownloadFileResponse_Data{Data: data}})
	})
}

// inChunks hands size bytes of a file to send, or fails.
func inChunks(file io.Reader, size int64, send func([]byte) error) error {
	for left := size; left > 0; {
		// A message may be read after it was sent, so each has its own bytes.
		chunk := make([]byte, min(left, sendChunk))
		if _, err := io.ReadFull(file, chunk); err != nil {
			return fmt.Errorf("projects: a file was cut while it was sent: %w", err)
		}
		left -= int64(len(chunk))
		if err := send(chunk); err != nil {
			return err
		}
	}
	return nil
}
