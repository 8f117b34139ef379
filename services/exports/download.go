package exports

import (
	"bufio"
	"io"

	"google.golang.org/grpc"

	antv1 "anthill/gen/ant/v1"
)

// chunk is how much is sent at once, in bytes.
const chunk = 64 << 10

// DownloadExport implements antv1.ExportsServiceServer.
func (r *Room) DownloadExport(q *antv1.DownloadExportRequest, s grpc.ServerStreamingServer[antv1.DownloadExportResponse]) error {
	d, err := r.document(s.Context(), q.SessionId)
	if err != nil {
		return err
	}
	var write func(io.Writer) error
	file := &antv1.ExportFile{}
	switch q.Format {
	case "markdown":
		write, file.Name, file.ContentType = d.markdown, d.fileName()+".md", "text/markdown; charset=utf-8"
	case "json":
		write, file.Name, file.ContentType = d.json, d.fileName()+".json", "application/json"
	case "zip":
		write, file.Name, file.ContentType = d.zip, d.fileName()+".zip", "application/zip"
	default:
		return badFormat(q.Format)
	}
	if err := s.Send(&antv1.DownloadExportResponse{Part: &antv1.DownloadExportResponse_File{File: file}}); err != nil {
		return err
	}
	out := &sender{stream: s}
	w := bufio.NewWriterSize(out, chunk)
	if err := write(w); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return s.Send(&antv1.DownloadExportResponse{Part: &antv1.DownloadExportResponse_Summary{
		Summary: &antv1.ExportSummary{Messages: d.messages, Bytes: out.bytes}}})
}

// fileName is one without an ending; the id keeps rooms of one name apart.
func (d *document) fileName() string { return safeName(d.session.Name) + "-" + safeName(d.session.Id) }

// sender writes into a stream.
type sender struct {
	stream grpc.ServerStreamingServer[antv1.DownloadExportResponse]
	bytes  float64
}

// Write implements io.Writer.
func (s *sender) Write(p []byte) (n int, err error) {
	for n < len(p) {
		some := append([]byte(nil), p[n:min(n+chunk, len(p))]...) // the stream keeps it
		if err := s.stream.Send(&antv1.DownloadExportResponse{Part: &antv1.DownloadExportResponse_Data{Data: some}}); err != nil {
			return n, err
		}
		n += len(some)
		s.bytes += float64(len(some))
	}
	return n, nil
}
