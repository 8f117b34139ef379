package main

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// The packages whose services the document shows.
const (
	coworkPackage = "anton.v1"
	roomsPackage  = "ant.v1"
)

// mark tells what the two APIs have under one name apart.
func mark(d protoreflect.Descriptor) string {
	if d.ParentFile().Package() == roomsPackage {
		return "Ant"
	}
	return ""
}

// addServices adds an operation for each HTTP rule.
func (d *document) addServices(files *protoregistry.Files) error {
	var tags []any
	for _, name := range []protoreflect.FullName{coworkPackage, roomsPackage} {
		before := len(tags)
		files.RangeFilesByPackage(name, func(f protoreflect.FileDescriptor) bool {
			for i := range f.Services().Len() {
				s := f.Services().Get(i)
				d.addService(s)
				tags = append(tags, object{"name": tagOf(s), "description": comment(s)})
			}
			return true
		})
		if len(tags) == before {
			return fmt.Errorf("no services in package %s", name)
		}
	}
	slices.SortFunc(tags, func(a, b any) int { return strings.Compare(a.(object)["name"].(string), b.(object)["name"].(string)) })
	d.root["tags"] = tags
	return nil
}

func (d *document) addService(s protoreflect.ServiceDescriptor) {
	for i := range s.Methods().Len() {
		m := s.Methods().Get(i)
		rule, ok := proto.GetExtension(m.Options(), annotations.E_Http).(*annotations.HttpRule)
		if !ok || rule == nil {
			continue
		}
		for n, r := range append([]*annotations.HttpRule{rule}, rule.AdditionalBindings...) {
			d.addRule(m, r, n)
		}
	}
}

// tagOf groups operations: "ProjectFilesService" is "Project files", and
// "HealthService" of the ANT API "ANT health".
func tagOf(s protoreflect.ServiceDescriptor) string {
	name := words(strings.TrimSuffix(string(s.Name()), "Service"))
	if mark(s) != "" {
		return "ANT " + strings.ToLower(name)
	}
	return name
}

// words takes a name apart: "ProjectFiles" is "Project files".
func words(name string) string {
	var b strings.Builder
	for i, r := range name {
		if i > 0 && unicode.IsUpper(r) {
			b.WriteByte(' ')
			r = unicode.ToLower(r)
		}
		b.WriteRune(r)
	}
	return b.String()
}

func pattern(r *annotations.HttpRule) (method, path string) {
	switch p := r.Pattern.(type) {
	case *annotations.HttpRule_Get:
		return http.MethodGet, p.Get
	case *annotations.HttpRule_Put:
		return http.MethodPut, p.Put
	case *annotations.HttpRule_Post:
		return http.MethodPost, p.Post
	case *annotations.HttpRule_Delete:
		return http.MethodDelete, p.Delete
	case *annotations.HttpRule_Patch:
		return http.MethodPatch, p.Patch
	}
	return "", ""
}

var parameter = regexp.MustCompile(`\{([A-Za-z_]+)(=\*\*)?\}`)

// addRule adds one operation: fields in the path, then a body or a query with the rest.
func (d *document) addRule(m protoreflect.MethodDescriptor, r *annotations.HttpRule, n int) {
	method, path := pattern(r)
	op := d.operation(method, parameter.ReplaceAllString(path, "{$1}"))
	id := mark(m) + string(m.Name())
	op["operationId"] = id
	if n > 0 {
		op["operationId"] = fmt.Sprintf("%s%d", id, n+1)
	}
	op["tags"] = []any{tagOf(m.Parent().(protoreflect.ServiceDescriptor))}
	text := comment(m)
	short := summary(text, string(m.Name()))
	op["summary"] = short
	if strings.TrimSuffix(text, ".") != short && text != "" {
		op["description"] = text
	}
	inPath := map[protoreflect.Name]bool{}
	params := []any{}
	fields := m.Input().Fields()
	for _, found := range parameter.FindAllStringSubmatch(path, -1) {
		fd := fields.ByName(protoreflect.Name(found[1]))
		inPath[fd.Name()] = true
		p := object{"name": found[1], "in": "path", "required": true, "schema": d.field(fd, request)}
		text := comment(fd)
		if found[2] != "" {
			text = strings.TrimSpace(text + " May hold slashes.")
		}
		if text != "" {
			p["description"] = text
		}
		params = append(params, p)
	}
	switch field := fields.ByName(protoreflect.Name(r.Body)); {
	case r.Body == "*":
		op["requestBody"] = d.body(m.Input(), inPath)
	case field != nil:
		op["requestBody"] = jsonBody(d.field(field, request), required(field))
		inPath[field.Name()] = true
		fallthrough
	default:
		params = append(params, d.query(m.Input(), inPath)...)
	}
	if len(params) > 0 {
		op["parameters"] = params
	}
	var schema object
	if field := m.Output().Fields().ByName(protoreflect.Name(r.ResponseBody)); field != nil {
		schema = d.field(field, answer)
	} else {
		schema = d.ref(m.Output(), answer)
	}
	op["responses"] = object{
		"200":     object{"description": "OK", "content": object{"application/json": object{"schema": schema}}},
		"default": object{"$ref": "#/components/responses/" + mark(m) + "Error"},
	}
}

// body is a request without the fields that are in the path.
func (d *document) body(md protoreflect.MessageDescriptor, inPath map[protoreflect.Name]bool) object {
	schema := d.ref(md, request)
	must := len(requiredNames(md, inPath)) > 0
	if len(inPath) > 0 {
		schema = d.inline(md, request, inPath)
	}
	return jsonBody(schema, must)
}

func jsonBody(schema object, must bool) object {
	return object{"required": must, "content": object{"application/json": object{"schema": schema}}}
}

func (d *document) query(md protoreflect.MessageDescriptor, inPath map[protoreflect.Name]bool) (params []any) {
	for i := range md.Fields().Len() {
		fd := md.Fields().Get(i)
		if inPath[fd.Name()] || fd.Kind() == protoreflect.MessageKind {
			continue
		}
		p := object{"name": nameOf(fd), "in": "query", "schema": d.field(fd, request)}
		if required(fd) {
			p["required"] = true
		}
		if text := comment(fd); text != "" {
			p["description"] = text
		}
		params = append(params, p)
	}
	return params
}

// summary is the first sentence, or the name in words.
func summary(text, name string) string {
	text, _, _ = strings.Cut(text, "\n\n")
	text = strings.ReplaceAll(text, "\n", " ")
	if i := strings.Index(text, ". "); i >= 0 {
		text = text[:i]
	}
	text = strings.TrimSuffix(text, ".")
	if text != "" && len(text) <= 120 {
		return text
	}
	return words(name)
}
