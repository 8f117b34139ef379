package files

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"

	"anthill/services/internal/agent"
	"anthill/services/internal/workspace"
)

// ImageTool is the name of the tool that shows a picture to a model.
const ImageTool = "read_image"

// maxImage bounds a picture: providers take no larger ones.
const maxImage = 5 << 20

type imager struct{ folder *workspace.Folder }

func (imager) Spec() agent.ToolSpec {
	return agent.ToolSpec{
		Name:        ImageTool,
		Description: "Look at a picture of the project: PNG, JPEG, GIF or WebP of up to 5 MB.",
		Schema: json.RawMessage(`{"type":"object","properties":{` +
			`"file_path":{"type":"string","description":"Path relative to the project folder, such as charts/sales.png"}},` +
			`"required":["file_path"],"additionalProperties":false}`),
	}
}

func (i imager) Run(ctx context.Context, input json.RawMessage) (text string, err error) {
	var in struct {
		Path string `json:"file_path"`
	}
	if err := json.Unmarshal(input, &in); err != nil {
		return "", fmt.Errorf("the input is not as %s needs it: %w", ImageTool, err)
	}
	file, info, err := i.folder.OpenReader(in.Path)
	if err != nil {
		return "", explain(ctx, i.folder, in.Path, err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if info.Size() > maxImage {
		return "", fmt.Errorf("%s has %d bytes, more than the %d of a picture that can be looked at", in.Path, info.Size(), maxImage)
	}
	data, err := io.ReadAll(io.LimitReader(file, maxImage))
	if err != nil {
		return "", fmt.Errorf("%s cannot be read: %w", in.Path, err)
	}
	kind := http.DetectContentType(data)
	switch kind {
	case "image/png", "image/jpeg", "image/gif", "image/webp":
	default:
		return "", fmt.Errorf("%s is not a PNG, JPEG, GIF or WebP picture (%s)", in.Path, kind)
	}
	agent.Attach(ctx, agent.Part{Image: &agent.Image{MIME: kind, Data: data}})
	return fmt.Sprintf("%s (%s, %d bytes)", path.Base(in.Path), kind, len(data)), nil
}
