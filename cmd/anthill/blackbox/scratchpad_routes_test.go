package blackbox

import (
	"net/http"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	antonv1 "anthill/gen/anton/v1"
)

func (e *everyRoute) scratchpadRoutes(t *testing.T) {
	const root = "/v1/scratchpad/"
	st, err := e.pads.StartScratchpad(e.s.call(), &antonv1.StartScratchpadRequest{Name: "g"})
	alike(e, e.call("POST "+root+"start", object{"name": "r"}), st, err)
	ex, err := e.pads.ExecuteCell(e.s.call(), &antonv1.ExecuteCellRequest{Name: "g", Code: proto.String("print('hä')\n1/0"), Description: "d", EstimatedSeconds: 5})
	alike(e, e.call("POST "+root+"execute", object{"name": "r", "code": "print('hä')\n1/0", "description": "d", "estimated_time": "", "estimated_seconds": 5}), ex, err)
	stream, err := e.pads.StreamCell(e.s.call(), &antonv1.StreamCellRequest{Name: "g", Code: proto.String("print(1)\ndisplay(2)\n3")})
	if err != nil {
		t.Fatal(err)
	}
	events, err := receive(stream)
	if err != nil || events[0].GetStarted().GetNumber() != 2 || events[len(events)-1].GetCell().GetStdout() != "1\n" {
		t.Errorf("%v %v", events, err)
	}
	a := e.call("POST "+root+"execute-stream", object{"name": "r", "code": "print(1)\ndisplay(2)\n3"})
	frames := strings.Split(strings.TrimSpace(string(a.body)), "\n\n")
	if a.status != http.StatusOK || !strings.HasPrefix(frames[len(frames)-1], `data: {"type":"cell"`) {
		t.Errorf("%v", a)
	}
	cells, err := e.pads.ListCells(e.s.call(), &antonv1.ListCellsRequest{Name: "g"})
	alike(e, e.call("GET "+root+"cells", nil, "?name=r"), cells, err)
	l, err := e.pads.ListScratchpads(e.s.call(), &antonv1.ListScratchpadsRequest{})
	same(e, e.call("GET "+root+"list", nil), l, err)
	e.rest["GET "+root+"view"], e.rest["GET "+root+"notebook"] = true, true
	view, err := e.pads.GetScratchpadView(e.s.call(), &antonv1.GetScratchpadViewRequest{Name: "g"})
	alike(e, e.s.do(http.MethodGet, root+"view?name=r", nil, headers("Accept", "application/json")), view, err)
	book, err := e.pads.GetScratchpadNotebook(e.s.call(), &antonv1.GetScratchpadNotebookRequest{Name: "g", Format: "markdown"})
	alike(e, e.s.do(http.MethodGet, root+"notebook?name=r&format=markdown", nil, headers("Accept", "application/json")), book, err)
	in, err := e.pads.InstallPackages(e.s.call(), &antonv1.InstallPackagesRequest{Name: "g", Packages: []string{"anthill_nowhere"}})
	alike(e, e.call("POST "+root+"install", object{"name": "r", "packages": []string{"anthill_nowhere"}}), in, err)
	c, err := e.pads.CancelCell(e.s.call(), &antonv1.CancelCellRequest{Name: "g"})
	alike(e, e.call("POST "+root+"cancel", object{"name": "r"}), c, err)
	c, err = e.pads.ResetScratchpad(e.s.call(), &antonv1.ResetScratchpadRequest{Name: "g"})
	alike(e, e.call("POST "+root+"reset", object{"name": "r"}), c, err)
	c, err = e.pads.CloseScratchpad(e.s.call(), &antonv1.CloseScratchpadRequest{Name: "g"})
	alike(e, e.call("POST "+root+"close", object{"name": "r"}), c, err)
	c, err = e.pads.CleanupScratchpad(e.s.call(), &antonv1.CleanupScratchpadRequest{Name: "g"})
	alike(e, e.call("POST "+root+"cleanup", object{"name": "r"}), c, err)
}
