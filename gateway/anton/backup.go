package anton

import (
	"errors"
	"io"
	"net/http"
	"time"

	antonv1 "anthill/gen/anton/v1"
)

// chunkWithin bounds the time in which a client must take one piece of a backup.
const chunkWithin = time.Minute

// downloadBackup serves GET /v1/backup: the file that BackupService streams.
func (h *Handler) downloadBackup(w http.ResponseWriter, r *http.Request, _ map[string]string) {
	call, err := h.backup.CreateBackup(outgoing(r), &antonv1.CreateBackupRequest{})
	var m *antonv1.CreateBackupResponse
	if err == nil {
		m, err = call.Recv() // so that what is refused gets an HTTP error
	}
	if err != nil {
		problemOf(r, err).write(w, r)
		return
	}
	hd := w.Header()
	hd.Set("Content-Type", "application/gzip")
	hd.Set("Content-Disposition", `attachment; filename="anthill-`+time.Now().UTC().Format("20060102T150405Z")+`.tgz"`)
	hd.Set("Content-Security-Policy", "sandbox")
	hd.Set("Cache-Control", "no-store")
	out := http.NewResponseController(w)
	if err := out.Flush(); err != nil {
		return // a HEAD, or nobody is left
	}
	defer out.SetWriteDeadline(time.Time{}) //nolint:errcheck // the connection may serve other requests
	for whole := false; ; {
		whole = whole || m.GetSummary() != nil
		if err := out.SetWriteDeadline(time.Now().Add(chunkWithin)); err != nil {
			panic(http.ErrAbortHandler)
		}
		if _, err := w.Write(m.GetData()); err != nil {
			return
		}
		m, err = call.Recv()
		switch {
		case errors.Is(err, io.EOF) && whole:
			return
		case err != nil:
			panic(http.ErrAbortHandler) // the only way to say that the body is not whole
		}
	}
}
