package main

import (
	"regexp"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	antonv1 "anthill/gen/anton/v1"
)

// side says whether a message is sent by clients or by the server: answers have
// every field, requests what must be there. What goes both ways is a request.
type side int

const (
	answer side = iota
	request
)

// required says whether a call is refused without the field.
func required(fd protoreflect.FieldDescriptor) bool {
	must, ok := proto.GetExtension(fd.Options(), antonv1.E_Required).(bool)
	return ok && must
}

func requiredNames(md protoreflect.MessageDescriptor, but map[protoreflect.Name]bool) (names []any) {
	for i := range md.Fields().Len() {
		if fd := md.Fields().Get(i); required(fd) && !but[fd.Name()] {
			names = append(names, nameOf(fd))
		}
	}
	return names
}

// nameOf is a field's name in JSON. compat: settings, memory, skills, artifacts and
// the results of the CoWork API's search speak camelCase.
func nameOf(fd protoreflect.FieldDescriptor) string {
	switch fd.ParentFile().Path() {
	case "anton/v1/settings.proto", "anton/v1/artifacts.proto", "anton/v1/search.proto", "anton/v1/memory.proto", "anton/v1/skills.proto":
		return fd.JSONName()
	}
	return string(fd.Name())
}

// ref leads to the schema of a message, which is added.
func (d *document) ref(md protoreflect.MessageDescriptor, s side) object {
	if known := wellKnown(md); known != nil {
		return known
	}
	name := mark(md) + string(md.Name())
	if made, there := d.sides[name]; !there || s == request && made == answer {
		d.sides[name] = s // before its fields: a message may hold itself
		d.schemas[name] = d.inline(md, s, nil)
	}
	return object{"$ref": schemaRef + name}
}

// inline is the schema of a message without some of its fields.
func (d *document) inline(md protoreflect.MessageDescriptor, s side, but map[protoreflect.Name]bool) object {
	props := object{}
	must := requiredNames(md, but)
	for i := range md.Fields().Len() {
		fd := md.Fields().Get(i)
		if but[fd.Name()] {
			continue
		}
		props[nameOf(fd)] = d.described(fd, s)
		if s == answer && (fd.ContainingOneof() == nil || fd.ContainingOneof().IsSynthetic()) {
			must = append(must, nameOf(fd))
		}
	}
	out := object{"type": "object", "properties": props}
	if len(must) > 0 {
		out["required"] = must
	}
	if text := comment(md); text != "" {
		out["description"] = text
	}
	return out
}

// described is a field with its comment, and null where it may be unset.
func (d *document) described(fd protoreflect.FieldDescriptor, s side) object {
	schema := d.field(fd, s)
	choice := fd.ContainingOneof() != nil && !fd.ContainingOneof().IsSynthetic()
	nullable := fd.HasPresence() && !choice && !(s == request && required(fd))
	text := comment(fd)
	if _, isRef := schema["$ref"]; isRef && (nullable || text != "") {
		schema = object{"allOf": []any{schema}} // beside $ref nothing counts
	}
	if text != "" {
		schema["description"] = text
	}
	if nullable {
		schema["nullable"] = true
	}
	return schema
}

// field is the schema of a field's value.
func (d *document) field(fd protoreflect.FieldDescriptor, s side) object {
	switch {
	case fd.IsMap():
		return object{"type": "object", "additionalProperties": d.value(fd.MapValue(), s)}
	case fd.IsList():
		return object{"type": "array", "items": d.value(fd, s)}
	}
	return d.value(fd, s)
}

func (d *document) value(fd protoreflect.FieldDescriptor, s side) object {
	switch fd.Kind() {
	case protoreflect.BoolKind:
		return object{"type": "boolean"}
	case protoreflect.StringKind:
		return object{"type": "string"}
	case protoreflect.BytesKind:
		return object{"type": "string", "format": "byte"}
	case protoreflect.DoubleKind, protoreflect.FloatKind:
		return object{"type": "number"}
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return object{"type": "integer", "format": "int32"}
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return object{"type": "integer", "minimum": 0}
	case protoreflect.EnumKind:
		values := []any{}
		for i := range fd.Enum().Values().Len() {
			values = append(values, string(fd.Enum().Values().Get(i).Name()))
		}
		return object{"type": "string", "enum": values}
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return d.ref(fd.Message(), s)
	}
	return object{"type": "string", "format": "int64"} // as protojson prints 64 bits
}

// wellKnown are messages with JSON of their own.
func wellKnown(md protoreflect.MessageDescriptor) object {
	switch md.FullName() {
	case "google.protobuf.Struct":
		return object{"type": "object"}
	case "google.protobuf.ListValue":
		return object{"type": "array", "items": object{}}
	case "google.protobuf.Value":
		return object{}
	case "google.protobuf.Timestamp":
		return object{"type": "string", "format": "date-time"}
	}
	return nil
}

// forReaders is a note for readers of the proto alone.
var forReaders = regexp.MustCompile(`(?s)\s*\([A-Z][^()]*\)$`)

// comment is what a declaration is introduced by: the first paragraph before it.
func comment(d protoreflect.Descriptor) string {
	text := d.ParentFile().SourceLocations().ByDescriptor(d).LeadingComments
	text, _, _ = strings.Cut(strings.ReplaceAll(text, "\n ", "\n"), "\n\n")
	return forReaders.ReplaceAllString(strings.TrimSpace(text), "")
}
