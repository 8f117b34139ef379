package access

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// forAdmins are services all of whose methods are for admins: here it is decided
// by service, where guests call it is decided by method.
var forAdmins = map[string]bool{
	"anton.v1.ArtifactsService": true, "anton.v1.AttachmentsService": true, "anton.v1.BackupService": true,
	"anton.v1.ConversationsService": true, "anton.v1.McpService": true, "anton.v1.MemoryService": true, "anton.v1.ModelsService": true,
	"anton.v1.ProjectFilesService": true, "anton.v1.ProjectsService": true, "anton.v1.ResponsesService": true,
	"anton.v1.ScratchpadsService": true, "anton.v1.SettingsService": true, "anton.v1.SearchService": true,
	"anton.v1.SkillsService": true,
}

func methods(t *testing.T) map[string]protoreflect.MethodDescriptor {
	t.Helper()
	all := map[string]protoreflect.MethodDescriptor{}
	for _, pkg := range []protoreflect.FullName{"ant.v1", "anton.v1"} {
		protoregistry.GlobalFiles.RangeFilesByPackage(pkg, func(f protoreflect.FileDescriptor) bool {
			for i := range f.Services().Len() {
				ms := f.Services().Get(i).Methods()
				for j := range ms.Len() {
					m := ms.Get(j)
					all[fmt.Sprintf("/%s/%s", m.Parent().FullName(), m.Name())] = m
				}
			}
			return true
		})
	}
	return all
}

// Every method was decided about, and what the table says of it can be checked.
func TestEveryMethodHasARule(t *testing.T) {
	all := methods(t)
	for name, m := range all {
		r, ok := rules[name]
		if service := string(m.Parent().FullName()); !ok && (!forAdmins[service] || strings.HasPrefix(service, "ant.")) {
			t.Errorf("%s: nothing says who may call it: add it to rules.go", name)
		}
		guests := r.need == read || r.need == write || r.need == terminal
		if guests != (r.room != "") {
			t.Errorf("%s: a method for guests names its room, and no other does", name)
		}
		for i, field := range append(append([]string(nil), r.zero...), r.room) {
			if field == "" {
				continue
			}
			fd := fieldOf(m.Input(), field)
			if fd == nil || i == len(r.zero) && (fd.Kind() != protoreflect.StringKind || fd.IsMap()) {
				t.Errorf("%s: %s has no such field %q", name, m.Input().FullName(), field)
			}
		}
		if strings.HasPrefix(name, "/anton.v1.") && guests {
			t.Errorf("%s: guests never reach the CoWork API", name)
		}
	}
	for name := range rules {
		if all[name] == nil {
			t.Errorf("%s: no such method", name)
		}
	}
	for service := range forAdmins {
		if _, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service)); err != nil {
			t.Errorf("%s: %v", service, err)
		}
	}
}

// A field that names a session beside the one that is checked would lead a guest
// out of the room.
func TestGuestsNameOneRoom(t *testing.T) {
	for name, m := range methods(t) {
		r := rules[name]
		if r.room == "" {
			continue
		}
		for _, field := range roomFields(m.Input(), "") {
			if field != r.room {
				t.Errorf("%s: %q is checked, %q is not", name, r.room, field)
			}
		}
	}
}

// fieldOf is a field of a message, or of one within it; nil: there is none. The
// room is named by one message of a oneof at most, so that it cannot be left out
// of what says where a stream leads.
func fieldOf(md protoreflect.MessageDescriptor, name string) protoreflect.FieldDescriptor {
	within, rest, nested := strings.Cut(name, ".")
	fd := md.Fields().ByName(protoreflect.Name(within))
	if !nested {
		return fd
	}
	if fd == nil || fd.Message() == nil || fd.IsList() || fd.ContainingOneof() == nil {
		return nil
	}
	return fieldOf(fd.Message(), rest)
}

// roomFields are the fields that name sessions, also those within messages.
func roomFields(md protoreflect.MessageDescriptor, before string) (list []string) {
	for i := range md.Fields().Len() {
		fd := md.Fields().Get(i)
		name := string(fd.Name())
		if name == "session_id" || name == "room_id" || name == "session_ids" {
			list = append(list, before+name)
		}
		if fd.Message() != nil && !fd.IsMap() && before == "" {
			list = append(list, roomFields(fd.Message(), name+".")...)
		}
	}
	return list
}
