package anton

import (
	"net/http"
	"net/url"
	"slices"
	"sort"
	"strings"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	antonv1 "anthill/gen/anton/v1"
)

// handler serves a route by hand, with its decoded path parameters.
type handler func(w http.ResponseWriter, r *http.Request, params map[string]string)

// routes knows every route of the dialect: those of the proto's HTTP rules and
// those served by hand. The generated mux does not tell an unknown path from a
// wrong method.
type routes struct {
	list   []*route
	byHand []*route
	tails  []string // last literal before a "**", as "/files"
}

type route struct {
	method   string
	segments []string
	handle   handler // nil: generated
}

// newRoutes reads the HTTP rules of the package's services.
func newRoutes() *routes {
	t := &routes{}
	files := protoregistry.GlobalFiles
	files.RangeFilesByPackage(antonv1.File_anton_v1_health_proto.Package(), func(f protoreflect.FileDescriptor) bool {
		for i := range f.Services().Len() {
			methods := f.Services().Get(i).Methods()
			for j := range methods.Len() {
				rule, ok := proto.GetExtension(methods.Get(j).Options(), annotations.E_Http).(*annotations.HttpRule)
				if ok && rule != nil {
					t.addRule(rule)
				}
			}
		}
		return true
	})
	return t
}

func (t *routes) addRule(rule *annotations.HttpRule) {
	switch p := rule.Pattern.(type) {
	case *annotations.HttpRule_Get:
		t.add(http.MethodGet, p.Get, nil)
	case *annotations.HttpRule_Put:
		t.add(http.MethodPut, p.Put, nil)
	case *annotations.HttpRule_Post:
		t.add(http.MethodPost, p.Post, nil)
	case *annotations.HttpRule_Delete:
		t.add(http.MethodDelete, p.Delete, nil)
	case *annotations.HttpRule_Patch:
		t.add(http.MethodPatch, p.Patch, nil)
	}
	for _, more := range rule.AdditionalBindings {
		t.addRule(more)
	}
}

func (t *routes) add(method, pattern string, handle handler) *route {
	r := &route{method: method, segments: strings.Split(pattern[1:], "/"), handle: handle}
	t.list = append(t.list, r)
	if n := len(r.segments); n > 1 && strings.HasSuffix(r.segments[n-1], "=**}") {
		if tail := "/" + r.segments[n-2]; !slices.Contains(t.tails, tail) {
			t.tails = append(t.tails, tail)
		}
	}
	return r
}

// unsure says whether the generated mux could take a path for another one: it
// lets a path end where a parameter should be, and splits parameters at %2F.
func (t *routes) unsure(path string) bool {
	if len(path) > 1 && path[len(path)-1] == '/' {
		return true
	}
	for _, tail := range t.tails {
		if strings.HasSuffix(path, tail) {
			return true
		}
	}
	return strings.Contains(path, "%2F") || strings.Contains(path, "%2f")
}

func (t *routes) addHand(method, pattern string, handle handler) {
	t.byHand = append(t.byHand, t.add(method, pattern, handle))
}

// hand finds the handler of an escaped path that is served by hand, and its
// decoded parameters. Of several routes the one with the most literals is meant.
func (t *routes) hand(method, path string) (handler, map[string]string) {
	for _, r := range t.byHand {
		if r.method != method {
			continue
		}
		if params, ok := r.match(path); ok {
			if params != nil && t.literal(method, path) {
				return nil, nil // such as /in-flight, which is no id
			}
			return r.handle, params
		}
	}
	return nil, nil
}

// literal says whether a generated route is the path itself.
func (t *routes) literal(method, path string) bool {
	for _, r := range t.list {
		if r.handle == nil && r.method == method {
			if params, ok := r.match(path); ok && params == nil {
				return true
			}
		}
	}
	return false
}

// methods lists what a path can be asked with.
func (t *routes) methods(path string) []string {
	var out []string
	for _, r := range t.list {
		if _, ok := r.match(path); ok && !slices.Contains(out, r.method) {
			out = append(out, r.method)
		}
	}
	sort.Strings(out)
	return out
}

// match compares an escaped path with the route and decodes its parameters.
func (r *route) match(path string) (params map[string]string, ok bool) {
	rest, more := strings.CutPrefix(path, "/")
	for _, s := range r.segments {
		if !more {
			return nil, false
		}
		part := rest
		name, deep := strings.CutSuffix(s, "=**}")
		if deep {
			more = false
		} else {
			part, rest, more = strings.Cut(rest, "/")
		}
		if !strings.HasPrefix(s, "{") {
			if s != part {
				return nil, false
			}
			continue
		}
		value, err := url.PathUnescape(part)
		if err != nil || value == "" || !deep && strings.Contains(value, "/") {
			return nil, false // no id or name holds a slash
		}
		if params == nil {
			params = map[string]string{}
		}
		params[strings.Trim(name, "{}")] = value
	}
	return params, !more
}
