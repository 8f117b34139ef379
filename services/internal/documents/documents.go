// Package documents reads the text out of files that people bring: PDF, Word,
// Excel and PowerPoint files, HTML, and text in any encoding.
//
// Rooms enter through Detect and a Process. A file is hostile until shown
// otherwise: it is judged by its content, read within Limits, and what needs a
// large parser is read in a process of its own, so that no file can take the
// server's memory, its time or its life. Nothing here stores anything, runs
// anything that a file holds, or follows a reference out of it.
package documents

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// Source is a file to be read.
type Source struct {
	Name string // what people call it: a hint, where the content leaves a choice
	Data io.ReaderAt
	Size int64 // bytes
}

// Text is what a document says. Of an image it only tells that it is sound.
type Text struct {
	Format Format
	// Text is UTF-8. Lines end with \n; it has no other control character but \t.
	Text string
	// Truncated says that the document goes on behind Text.
	Truncated bool
}

// Limits bound the reading of one document. All are positive.
type Limits struct {
	Input    int64         // bytes of a file
	Unpacked int64         // bytes of what is packed in it, altogether
	Text     int           // bytes of text; a longer one is cut
	Memory   uint64        // bytes that a Process may use
	Time     time.Duration // that a Process may take
}

// DefaultLimits are generous for what people write and small for a server.
var DefaultLimits = Limits{
	Input:    100 << 20,
	Unpacked: 256 << 20,
	Text:     4 << 20,
	Memory:   1 << 30,
	Time:     time.Minute,
}

// Failure is why a document has no text, in words for people.
type Failure struct {
	Reason string
	cause  error
}

func (f *Failure) Error() string {
	if f.cause != nil {
		return f.Reason + " (" + f.cause.Error() + ")"
	}
	return f.Reason
}

func (f *Failure) Unwrap() error { return f.cause }

func failure(cause error, format string, args ...any) *Failure {
	return &Failure{Reason: fmt.Sprintf(format, args...), cause: cause}
}

// Reasons that several formats share.
const (
	reasonDamaged = "The file is damaged, or not what its name says: it could not be read to its end."
	reasonLocked  = "The file is protected or encrypted: save it without protection and attach it again."
	reasonNoText  = "No text was found in the file."
	reasonHuge    = "The file is too large to be read: unpacked it has more than %d MiB."
)

// Extract reads a document in this process. What it returns is a *Failure, the
// end of ctx, or an error of src. It holds the limits of size, but cannot keep a
// hostile file from using up memory, stack or time: that takes a Process.
func Extract(ctx context.Context, src Source, l Limits) (text Text, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = failure(fmt.Errorf("panic: %v", p), reasonDamaged)
		}
	}()
	if src.Size > l.Input {
		return Text{}, failure(nil, "The file is too large to be read: it has more than %d MiB.", l.Input>>20)
	}
	if text.Format, err = format(src); err != nil {
		return Text{}, err
	}
	out := &writer{ctx: ctx, left: l.Text}
	err = extractors[text.Format.Kind](out, src, l)
	if errors.Is(err, errFull) {
		err = nil
	}
	if err != nil {
		return Text{Format: text.Format}, err
	}
	text.Text, text.Truncated = out.text(), out.full
	if text.Text == "" && text.Format.Kind != Plain && text.Format.Kind != Image {
		return Text{Format: text.Format}, &Failure{Reason: noText(text.Format.Kind)}
	}
	return text, nil
}

// extractors write what a document says. errFull is no failure of theirs.
var extractors = map[Kind]func(out *writer, src Source, l Limits) error{
	Plain:  extractPlain,
	HTML:   extractHTML,
	PDF:    extractPDF,
	Word:   extractWord,
	Sheet:  extractSheet,
	Slide:  extractSlides,
	Image:  extractImage,
	Legacy: extractLegacy,
	Other:  extractOther,
}

func extractOther(_ *writer, src Source, _ Limits) error {
	f, err := format(src)
	if err != nil {
		return err
	}
	return failure(nil, "No text can be read from a file of this kind (%s).", f.MIME)
}

func noText(k Kind) string {
	if k == PDF {
		return "No text was found in the PDF: its pages may be scanned images."
	}
	return reasonNoText
}
