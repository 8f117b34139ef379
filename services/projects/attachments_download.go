package projects

import (
	"errors"

	"google.golang.org/grpc"

	antonv1 "anthill/gen/anton/v1"
)

// DownloadAttachment sends as many bytes as the header says, or fails.
func (s attachmentsService) DownloadAttachment(q *antonv1.DownloadAttachmentRequest, stream grpc.ServerStreamingServer[antonv1.DownloadAttachmentResponse]) (err error) {
	a, v, err := s.room.findAttachment(stream.Context(), q.Id, q.Project, q.SessionId)
	if err != nil {
		return err
	}
	f, err := s.room.Folder(stream.Context(), a.ProjectID)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	file, info, err := f.OpenReader(a.path())
	if err != nil {
		return fileFault(err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	v.Size, v.Bytes = float64(info.Size()), float64(info.Size())
	if err := stream.Send(&antonv1.DownloadAttachmentResponse{Part: &antonv1.DownloadAttachmentResponse_Header{Header: v}}); err != nil {
		return err
	}
	return inChunks(file, info.Size(), func(data []byte) error {
		return stream.Send(&antonv1.DownloadAttachmentResponse{Part: &antonv1.DownloadAttachmentResponse_Data{Data: data}})
	})
}
