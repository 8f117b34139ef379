package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"github.com/spf13/viper"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	antv1 "anthill/gen/ant/v1"
)

type filesFlags struct {
	server, as, note, output string
	json                     bool
}

// filesJob is one command on the files of a room.
type filesJob struct {
	*filesFlags
	conn  *client
	files antv1.FilesServiceClient
	ctx   context.Context
	room  string // id
	out   io.Writer
}

func newFiles(v *viper.Viper) *cobra.Command {
	f := &filesFlags{}
	c := &cobra.Command{
		Use:   "files ROOM",
		Short: "List the files of a room, flag, upload or fetch one",
		Long: `List the files of a room: those that somebody flagged, and those that were
uploaded. ROOM is an id, a @handle or a name.`,
		Example: `  anthill files @planning
  anthill files add @planning docs/plan.md --note "the third draft"
  anthill files upload @planning photo.png
  anthill files get @planning V1StGXR8 -o photo.png`,
		Args: cobra.ExactArgs(1),
		RunE: f.run(v, func(j *filesJob, _ string) error { return j.list() }),
	}
	c.PersistentFlags().StringVar(&f.server, "server", "", serverUsage)
	c.PersistentFlags().BoolVar(&f.json, "json", false, "print every row as one line of JSON")
	c.ValidArgsFunction = complete(v, &f.server, roomNames)
	completeFlags(c, map[string]cobra.CompletionFunc{"server": cobra.NoFileCompletions})
	c.AddCommand(newFilesAdd(v, f), newFilesUpload(v, f), newFilesGet(v, f), newFilesRemove(v, f))
	return c
}

func newFilesAdd(v *viper.Viper, f *filesFlags) *cobra.Command {
	c := &cobra.Command{
		Use:   "add ROOM PATH",
		Short: "Flag a file to a room, as it is called here; nothing is sent but its path",
		Args:  cobra.ExactArgs(2),
		RunE:  f.run(v, (*filesJob).add),
	}
	c.Flags().StringVar(&f.note, "note", "", "what is to be said of it")
	f.actsAs(v, c)
	completeFlags(c, map[string]cobra.CompletionFunc{"note": cobra.NoFileCompletions})
	return c
}

func newFilesUpload(v *viper.Viper, f *filesFlags) *cobra.Command {
	c := &cobra.Command{
		Use:   "upload ROOM PATH",
		Short: "Upload a file to a room and print its id",
		Args:  cobra.ExactArgs(2),
		RunE:  f.run(v, (*filesJob).upload),
	}
	f.actsAs(v, c)
	return c
}

// actsAs is what commands have in common that add a file.
func (f *filesFlags) actsAs(v *viper.Viper, c *cobra.Command) {
	c.Flags().StringVar(&f.as, "as", "", "`HANDLE` of who does it (default @ and the name of the user)")
	rooms := complete(v, &f.server, roomNames)
	c.ValidArgsFunction = func(c *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) == 1 {
			return nil, cobra.ShellCompDirectiveDefault // a file
		}
		return firstOnly(rooms)(c, args, typed)
	}
	completeFlags(c, map[string]cobra.CompletionFunc{"as": cobra.NoFileCompletions})
}

func newFilesGet(v *viper.Viper, f *filesFlags) *cobra.Command {
	c := &cobra.Command{
		Use:   "get ROOM ID",
		Short: "Fetch an uploaded file",
		Long: `Fetch an uploaded file, named by its id or 8 characters of its beginning and more.
Without -o it gets the name that it was uploaded under, unless there is a file of
that name. It appears when it is whole.`,
		Args: cobra.ExactArgs(2),
		RunE: f.run(v, (*filesJob).get),
	}
	c.Flags().StringVarP(&f.output, "output", "o", "", "`FILE` to write; - is standard output")
	c.ValidArgsFunction = firstOnly(complete(v, &f.server, roomNames))
	return c
}

func newFilesRemove(v *viper.Viper, f *filesFlags) *cobra.Command {
	c := &cobra.Command{
		Use:   "remove ROOM ID",
		Short: "Remove a flagged or an uploaded file from a room",
		Long: `Remove a flagged or an uploaded file from a room, named by its id or 8 characters of
its beginning and more. What was flagged itself stays where it is.`,
		Args: cobra.ExactArgs(2),
		RunE: f.run(v, (*filesJob).remove),
	}
	c.ValidArgsFunction = firstOnly(complete(v, &f.server, roomNames))
	return c
}

// run connects, finds the room of the first argument and does something with the
// second.
func (f *filesFlags) run(v *viper.Viper, do func(*filesJob, string) error) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, args []string) error {
		cfg, err := load(v)
		if err != nil {
			return err
		}
		conn, err := connect(cfg, f.server)
		if err != nil {
			return err
		}
		defer conn.Close() //nolint:errcheck // nothing is left to lose
		room, err := findRoom(c.Context(), conn, args[0])
		if err != nil {
			return err
		}
		j := &filesJob{filesFlags: f, conn: conn, files: antv1.NewFilesServiceClient(conn), ctx: conn.with(c.Context()), room: room.Id, out: c.OutOrStdout()}
		return do(j, append(args, "")[1])
	}
}

// print shows a row, or only its id.
func (j *filesJob) print(m proto.Message, id string) error {
	if !j.json {
		_, err := fmt.Fprintln(j.out, id)
		return err
	}
	b, err := rowJSON.Marshal(m)
	if err == nil {
		_, err = fmt.Fprintf(j.out, "%s\n", b)
	}
	return err
}

// refs are all flagged files of the room, in the order of flagging.
func (j *filesJob) refs() (all []*antv1.FileRef, err error) {
	q := &antv1.ListFileRefsRequest{SessionId: j.room}
	for more := true; more; {
		page, err := j.files.ListFileRefs(j.ctx, q)
		if err != nil {
			return nil, j.conn.explain(err)
		}
		all, q.Cursor, more = append(all, page.Refs...), page.Newer, page.HasMore
	}
	return all, nil
}

// uploads are all uploaded ones.
func (j *filesJob) uploads() (all []*antv1.Attachment, err error) {
	q := &antv1.ListRoomAttachmentsRequest{SessionId: j.room}
	for more := true; more; {
		page, err := j.files.ListRoomAttachments(j.ctx, q)
		if err != nil {
			return nil, j.conn.explain(err)
		}
		all, q.Cursor, more = append(all, page.Attachments...), page.Newer, page.HasMore
	}
	return all, nil
}

func (j *filesJob) list() error {
	refs, err := j.refs()
	if err != nil {
		return err
	}
	uploads, err := j.uploads()
	if err != nil {
		return err
	}
	if j.json {
		for _, f := range refs {
			err = errors.Join(err, j.print(f, ""))
		}
		for _, a := range uploads {
			err = errors.Join(err, j.print(a, ""))
		}
		return err
	}
	w := tabwriter.NewWriter(j.out, 0, 0, 2, ' ', 0)
	if len(refs)+len(uploads) > 0 {
		fmt.Fprintln(w, "ID\tKIND\tFILE\tSIZE\tBY\tSINCE (UTC)\tNOTE")
	}
	row := func(fields ...string) {
		for i, f := range fields {
			fields[i] = briefly(printable(f))
		}
		fmt.Fprintln(w, strings.Join(fields, "\t"))
	}
	for _, f := range refs {
		row(f.Id, "flagged", f.FilePath, "", f.GetFlaggedBy(), f.CreatedAt, f.GetNote())
	}
	for _, a := range uploads {
		row(a.Id, "uploaded", a.Name, sizeText(a.Size), a.GetUploadedBy(), a.CreatedAt, a.ContentType)
	}
	return w.Flush() // what failed before fails here
}

func (j *filesJob) add(path string) error {
	v, err := j.files.CreateFileRef(j.ctx, &antv1.CreateFileRefRequest{SessionId: j.room, FilePath: path, Note: j.note, FlaggedBy: orUser(j.as)})
	if err != nil {
		return j.conn.explain(err)
	}
	return j.print(v.Ref, v.Ref.Id)
}

const uploadPiece = 256 << 10 // bytes

func (j *filesJob) upload(path string) (err error) {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		return errors.Join(fmt.Errorf("%s is no plain file", path), err)
	}
	ctx, cancel := context.WithCancel(j.ctx)
	defer cancel() // what is not whole is not kept
	call, err := j.files.UploadAttachment(ctx)
	if err != nil {
		return j.conn.explain(err)
	}
	err = call.Send(&antv1.UploadAttachmentRequest{SessionId: j.room, Part: &antv1.UploadAttachmentRequest_File{
		File: &antv1.UploadedFile{Name: filepath.Base(path), Handle: orUser(j.as)}}})
	for more := true; more && err == nil; {
		buf := make([]byte, uploadPiece)
		n, failed := file.Read(buf)
		if failed != nil && failed != io.EOF { //nolint:errorlint // what Read says
			return failed
		}
		if more = failed == nil; n > 0 {
			err = call.Send(&antv1.UploadAttachmentRequest{SessionId: j.room, Part: &antv1.UploadAttachmentRequest_Data{Data: buf[:n]}})
		}
	}
	v, err := call.CloseAndRecv() // it says why sending failed, too
	if err != nil {
		return j.conn.explain(err)
	}
	return j.print(v, v.Id)
}

// uploaded finds an attachment by its id or the beginning of it. Nil: there is none.
func (j *filesJob) uploaded(id string) (*antv1.Attachment, error) {
	a, err := j.files.GetRoomAttachment(j.ctx, &antv1.GetRoomAttachmentRequest{SessionId: j.room, AttachmentId: id})
	switch {
	case err == nil:
		return a, nil
	case status.Code(err) != codes.NotFound:
		return nil, j.conn.explain(err)
	case len(id) < 8:
		return nil, nil
	}
	list, err := j.uploads()
	if err != nil {
		return nil, err
	}
	var found *antv1.Attachment
	for _, a := range list {
		if !strings.HasPrefix(a.Id, id) {
			continue
		}
		if found != nil {
			return nil, fmt.Errorf("several files begin with %q: give the whole id", id)
		}
		found = a
	}
	return found, nil
}

func (j *filesJob) get(id string) error {
	a, err := j.uploaded(id)
	switch {
	case err != nil:
		return err
	case a == nil:
		return fmt.Errorf("there is no uploaded file %q in this room: see 'anthill files'", id)
	case j.output == "-":
		_, err := j.fetch(a, j.out)
		return err
	}
	file := j.output
	if file == "" {
		file = a.Name
		if !filepath.IsLocal(file) || filepath.Base(file) != file || strings.HasPrefix(file, ".") {
			return fmt.Errorf("the file is called %q: say with -o what to call it here", file)
		}
		if _, err := os.Lstat(file); err == nil {
			return fmt.Errorf("%s is here already: say with -o what to write", printable(file))
		}
	}
	if _, err := writeWhole(file, func(w io.Writer) (float64, error) { return j.fetch(a, w) }); err != nil {
		return err
	}
	if j.json {
		return j.print(a, "")
	}
	_, err = fmt.Fprintf(j.out, "%s: %s\n", printable(file), sizeText(a.Size))
	return err
}

// fetch writes the bytes of an attachment, all of them or it fails.
func (j *filesJob) fetch(a *antv1.Attachment, w io.Writer) (size float64, err error) {
	call, err := j.files.DownloadRoomAttachment(j.ctx, &antv1.DownloadRoomAttachmentRequest{SessionId: j.room, AttachmentId: a.Id})
	for err == nil {
		var m *antv1.DownloadRoomAttachmentResponse
		if m, err = call.Recv(); err != nil {
			break
		}
		size += float64(len(m.GetData()))
		if _, err := w.Write(m.GetData()); err != nil {
			return size, err
		}
	}
	switch {
	case j.ctx.Err() != nil:
		return size, errors.New("interrupted")
	case !errors.Is(err, io.EOF):
		return size, j.conn.explain(err)
	case size != a.Size:
		return size, errors.New("the file ended early: try again")
	}
	return size, nil
}

func (j *filesJob) remove(id string) error {
	a, err := j.uploaded(id)
	if err != nil {
		return err
	}
	if a != nil {
		if _, err := j.files.DeleteRoomAttachment(j.ctx, &antv1.DeleteRoomAttachmentRequest{SessionId: j.room, AttachmentId: a.Id}); err != nil {
			return j.conn.explain(err)
		}
		return j.print(a, a.Id)
	}
	f, err := j.flagged(id)
	if err != nil {
		return err
	}
	if _, err := j.files.DeleteFileRef(j.ctx, &antv1.DeleteFileRefRequest{SessionId: j.room, RefId: f.Id}); err != nil {
		return j.conn.explain(err)
	}
	return j.print(f, f.Id)
}

// flagged finds a reference, so that one which is not there is told: the server
// is silent about it.
func (j *filesJob) flagged(id string) (*antv1.FileRef, error) {
	list, err := j.refs()
	if err != nil {
		return nil, err
	}
	var found *antv1.FileRef
	for _, f := range list {
		switch {
		case f.Id == id:
			return f, nil
		case len(id) < 8 || !strings.HasPrefix(f.Id, id):
		case found != nil:
			return nil, fmt.Errorf("several files begin with %q: give the whole id", id)
		default:
			found = f
		}
	}
	if found == nil {
		return nil, fmt.Errorf("there is no file %q in this room: see 'anthill files'", id)
	}
	return found, nil
}
