package driver

import (
	"reflect"
	"slices"
)

// Schema is the names of all keys that a driver's file may have, each once, sorted.
func Schema() []string {
	var all []string
	collect(reflect.TypeFor[Driver](), &all)
	slices.Sort(all)
	return slices.Compact(all)
}

func collect(t reflect.Type, all *[]string) {
	for t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || t == reflect.TypeFor[Pattern]() {
		return
	}
	for f := range t.Fields() {
		if key := f.Tag.Get("yaml"); key != "" {
			*all = append(*all, key)
			collect(f.Type, all)
		}
	}
}
