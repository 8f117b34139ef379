package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// object is a JSON object; keys are printed in order.
type object = map[string]any

// document is what is generated.
type document struct {
	root    object
	paths   object
	schemas object
	sides   map[string]side // for which a schema was made
}

const schemaRef = "#/components/schemas/"

func newDocument() *document {
	d := &document{paths: object{}, schemas: object{}, sides: map[string]side{}}
	d.root = object{"openapi": "3.0.3", "paths": d.paths, "components": object{"schemas": d.schemas}}
	return d
}

// operation is the place of an operation in the document, which is made.
func (d *document) operation(method, path string) object {
	item, ok := d.paths[path].(object)
	if !ok {
		item = object{}
		d.paths[path] = item
	}
	op := object{}
	item[strings.ToLower(method)] = op
	return op
}

// merge lays what was written by hand over what was generated: objects are
// merged, null takes away, everything else is replaced. A schema is replaced as
// a whole; tags are added.
func (d *document) merge(hand object) {
	if c, ok := hand["components"].(object); ok {
		if schemas, ok := c["schemas"].(object); ok {
			for name := range schemas {
				delete(d.schemas, name)
			}
		}
	}
	if more, ok := hand["tags"].([]any); ok { // beside those of services
		hand["tags"] = slices.Concat(d.root["tags"].([]any), more)
	}
	overlay(d.root, hand)
}

func overlay(under, over object) {
	for k, v := range over {
		below, isObject := under[k].(object)
		above, also := v.(object)
		switch {
		case isObject && also:
			overlay(below, above)
		case v == nil:
			delete(under, k)
		default:
			under[k] = v
		}
	}
}

// prune drops the schemas and tags that nothing leads to, and fails for schemas
// that are missing.
func (d *document) prune() error {
	tags := map[any]bool{}
	for _, item := range d.paths {
		for _, op := range item.(object) {
			for _, tag := range op.(object)["tags"].([]any) {
				tags[tag] = true
			}
		}
	}
	d.root["tags"] = slices.DeleteFunc(d.root["tags"].([]any), func(t any) bool { return !tags[t.(object)["name"]] })
	used := map[string]bool{}
	var missing []string
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case object:
			if ref, ok := v["$ref"].(string); ok {
				if name, ok := strings.CutPrefix(ref, schemaRef); ok && !used[name] {
					used[name] = true
					if d.schemas[name] == nil {
						missing = append(missing, name)
					}
					walk(d.schemas[name])
				}
			}
			for _, below := range v {
				walk(below)
			}
		case []any:
			for _, below := range v {
				walk(below)
			}
		}
	}
	components := d.root["components"].(object)
	for k, v := range d.root {
		if k != "components" {
			walk(v)
		}
	}
	for k, v := range components {
		if k != "schemas" {
			walk(v)
		}
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		return fmt.Errorf("no schema for %s", strings.Join(missing, ", "))
	}
	maps.DeleteFunc(d.schemas, func(name string, _ any) bool { return !used[name] })
	return nil
}
