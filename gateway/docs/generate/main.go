// Command generate writes the OpenAPI document of the REST API. It reads the
// descriptors of proto/, with their comments, from standard input (buf build
// -o -), adds what byhand.yaml says of the routes that are written by hand, and
// prints the document.
package main

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"
)

//go:embed byhand.yaml
var byHand []byte

func main() {
	if err := run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "openapi:", err)
		os.Exit(1)
	}
}

func run(in io.Reader, out io.Writer) error {
	data, err := io.ReadAll(in)
	if err != nil {
		return err
	}
	var set descriptorpb.FileDescriptorSet
	if err := proto.Unmarshal(data, &set); err != nil {
		return fmt.Errorf("descriptors: %w", err)
	}
	files, err := protodesc.NewFiles(&set)
	if err != nil {
		return fmt.Errorf("descriptors: %w", err)
	}
	var hand object
	if err := yaml.Unmarshal(byHand, &hand); err != nil {
		return fmt.Errorf("byhand.yaml: %w", err)
	}
	d := newDocument()
	if err := d.addServices(files); err != nil {
		return err
	}
	d.merge(hand)
	if err := d.prune(); err != nil {
		return err
	}
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	return e.Encode(d.root)
}
