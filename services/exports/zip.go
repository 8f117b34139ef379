package exports

import (
	"archive/zip"
	"io"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
)

// RunEvents is the name of the list that is a file of its own in a zip.
const RunEvents = "run_events"

// zip writes room.md, room.json, run-events.jsonl and uploads/.
func (d *document) zip(w io.Writer) error {
	z := zip.NewWriter(w)
	for _, part := range []struct {
		name  string
		write func(io.Writer) error
	}{{"room.md", d.markdown}, {"room.json", func(w io.Writer) error { d.messages = 0; return d.json(w) }}, {"run-events.jsonl", d.runEvents}} {
		f, err := d.file(z, part.name, d.at)
		if err == nil {
			err = part.write(f)
		}
		if err != nil {
			return err
		}
	}
	if d.Uploads != nil {
		err := d.Uploads(d.ctx, d.session.Id, func(u Upload) error {
			f, err := d.file(z, "uploads/"+safeName(u.ID)+"-"+safeName(u.Name), u.At)
			if err != nil {
				return err
			}
			return u.Copy(d.ctx, f)
		})
		if err != nil {
			return err
		}
	}
	return z.Close()
}

func (d *document) file(z *zip.Writer, name string, at time.Time) (io.Writer, error) {
	return z.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate, Modified: at})
}

// runEvents writes them one to a line.
func (d *document) runEvents(w io.Writer) error {
	for _, l := range d.Lists {
		if l.Name != RunEvents {
			continue
		}
		return l.Each(d.ctx, d.session.Id, func(m proto.Message) error {
			row, err := line(m)
			if err == nil {
				_, err = w.Write(append(row, '\n'))
			}
			return err
		})
	}
	return nil
}

// nameMax bounds the part of a file name that comes from elsewhere.
const nameMax = 80

// safeName is what of a name can be in the name of a file on every system.
func safeName(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '_', r == '.':
			return r
		}
		return '-'
	}, s)
	if len(s) > nameMax {
		s = s[len(s)-nameMax:] // the end tells the type
	}
	if s = strings.Trim(s, "-."); s == "" {
		return "unnamed"
	}
	return s
}
