package rest

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
)

// Handler serves a route by hand, with its decoded path parameters.
type Handler func(w http.ResponseWriter, r *http.Request, params map[string]string)

// Routes knows every route of a dialect: those of the proto's HTTP rules and
// those served by hand. The generated mux does not tell an unknown path from a
// wrong method.
type Routes struct {
	list   []*route
	byHand []*route
	tails  []string // last literal before a "**", as "/files"
}

type route struct {
	method   string
	segments []string
	handle   Handler // nil: generated
}

// NewRoutes reads the HTTP rules of the services of a proto package.
func NewRoutes(pkg protoreflect.FullName) *Routes {
	t := &Routes{}
	protoregistry.GlobalFiles.RangeFilesByPackage(pkg, func(f protoreflect.FileDescriptor) bool {
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

func (t *Routes) addRule(rule *annotations.HttpRule) {
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

func (t *Routes) add(method, pattern string, handle Handler) *route {
	r := &route{method: method, segments: strings.Split(pattern[1:], "/"), handle: handle}
	t.list = append(t.list, r)
	if n := len(r.segments); n > 1 && strings.HasSuffix(r.segments[n-1], "=**}") {
		if tail := "/" + r.segments[n-2]; !slices.Contains(t.tails, tail) {
			t.tails = append(t.tails, tail)
		}
	}
	return r
}

// Unsure says whether the generated mux could take a path for another one: it
// lets a path end, or go on, where a parameter should be, and splits parameters at %2F.
func (t *Routes) Unsure(path string) bool {
	if len(path) > 1 && path[len(path)-1] == '/' {
		return true
	}
	for _, tail := range t.tails {
		if strings.HasSuffix(path, tail) {
			return true
		}
	}
	return strings.Contains(path, "//") || strings.Contains(path, "%2F") || strings.Contains(path, "%2f")
}

// AddHand adds a route that is served by hand. Patterns are those of HTTP rules.
func (t *Routes) AddHand(method, pattern string, handle Handler) {
	t.byHand = append(t.byHand, t.add(method, pattern, handle))
}

// Hand finds the handler of an escaped path that is served by hand, and its
// decoded parameters. Of several routes the one with the most literals is meant.
func (t *Routes) Hand(method, path string) (Handler, map[string]string) {
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
func (t *Routes) literal(method, path string) bool {
	for _, r := range t.list {
		if r.handle == nil && r.method == method {
			if params, ok := r.match(path); ok && params == nil {
				return true
			}
		}
	}
	return false
}

// Methods lists what a path can be asked with.
func (t *Routes) Methods(path string) []string {
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
