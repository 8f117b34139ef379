package services

import (
	"fmt"
	"io"
	"os"

	"anthill/services/internal/documents"
)

// DocumentCommand is the subcommand of this program that calls ReadDocument.
const DocumentCommand = "read-document"

// ReadDocument is what a process does in which the server reads one document,
// apart from everything that a hostile one could harm.
func ReadDocument(file *os.File, out io.Writer, limits string) error {
	return documents.Serve(file, out, limits)
}

// newReader starts such processes.
func newReader() (documents.Process, error) {
	command, err := documents.Command(DocumentCommand)
	if err != nil {
		return documents.Process{}, fmt.Errorf("read documents: %w", err)
	}
	return documents.Process{Command: command, Limits: documents.DefaultLimits}, nil
}
