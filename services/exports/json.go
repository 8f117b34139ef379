package exports

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	antv1 "anthill/gen/ant/v1"
)

// formatName and formatVersion say how to read an export; the version changes
// when a reader has to.
const (
	formatName    = "anthill-room"
	formatVersion = 1
)

// json writes everything, one row to a line: {format, version, anthill,
// exported_at, session, <lists>…, messages}. Rows are those of the ANT API.
func (d *document) json(w io.Writer) error {
	out := bufio.NewWriter(w)
	row, err := line(d.session)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "{\"format\":%q,\"version\":%d,\"anthill\":%s,\"exported_at\":%q,\n\"session\":%s", formatName, formatVersion,
		quoted(d.Version), d.at.Format("2006-01-02T15:04:05Z"), row)
	for _, l := range d.Lists {
		err := array(out, l.Name, func(emit func(proto.Message) error) error { return l.Each(d.ctx, d.session.Id, emit) })
		if err != nil {
			return err
		}
	}
	err = array(out, "messages", func(emit func(proto.Message) error) error {
		return d.eachMessage(func(m *antv1.Message) error { return emit(m) })
	})
	if err != nil {
		return err
	}
	fmt.Fprint(out, "}\n")
	return out.Flush()
}

// array writes a member of rows.
func array(w io.Writer, name string, each func(emit func(proto.Message) error) error) error {
	if _, err := fmt.Fprintf(w, ",\n%s:[", quoted(name)); err != nil {
		return err
	}
	separator := "\n"
	err := each(func(m proto.Message) error {
		row, err := line(m)
		if err == nil {
			_, err = fmt.Fprintf(w, "%s%s", separator, row)
			separator = ",\n"
		}
		return err
	})
	if err == nil {
		_, err = io.WriteString(w, "]")
	}
	return err
}

// line is a row without blanks, which protojson puts in some builds and not in others.
func line(m proto.Message) ([]byte, error) {
	b, err := protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: true}.Marshal(m)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = json.Compact(&out, b)
	return out.Bytes(), err
}

func quoted(s string) []byte {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // a string always has one
	}
	return b
}
