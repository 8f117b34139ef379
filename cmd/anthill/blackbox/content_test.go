package blackbox

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	antonv1 "anthill/gen/anton/v1"
)

// Beginnings of files are enough to tell what they are.
var (
	pngBytes  = []byte("\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01")
	jpegBytes = []byte("\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01")
	gifBytes  = []byte("GIF89a\x01\x00\x01\x00\x80\x00\x00")
	webpBytes = []byte("RIFF\x1a\x00\x00\x00WEBPVP8L\x0d\x00\x00\x00")
	pdfBytes  = []byte("%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n")
)

func dataURL(typ string, data []byte) string {
	return "data:" + typ + ";base64," + base64.StdEncoding.EncodeToString(data)
}

// partsOf is a request with one user message of these parts.
func partsOf(parts ...object) object {
	return object{"stream": false, "input": []object{{"role": "user", "content": parts}}}
}

func text(s string) object { return object{"type": "input_text", "text": s} }

// userParts is the user's last message as the model is sent it, its parts as JSON.
func (c *call) userParts(t *testing.T) (out []string) {
	t.Helper()
	for i := len(c.Messages) - 1; i >= 0; i-- {
		m := c.Messages[i]
		if m.Role != "user" {
			continue
		}
		if s, ok := m.Content.(string); ok {
			return []string{s}
		}
		for _, p := range m.Content.([]any) {
			p := p.(object)
			if p["type"] == "text" {
				out = append(out, str(p, "text"))
				continue
			}
			data, err := json.Marshal(p)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, string(data))
		}
		return out
	}
	return nil
}

// Pictures and documents reach the model as it takes them, in their order, and
// stay in the conversation.
func TestContentReachesTheModel(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	s := start(t, withModel(p))
	picture := func(url, detail string) string {
		image := object{"url": url}
		if detail != "" {
			image["detail"] = detail
		}
		data, _ := json.Marshal(object{"type": "image_url", "image_url": image}) // maps of strings
		return string(data)
	}
	document := func(name, data string) string {
		out, _ := json.Marshal(object{"type": "file", "file": object{"filename": name, "file_data": data}})
		return string(out)
	}
	file := func(name, content string) string { return fmt.Sprintf("<file name=%q>\n%s\n</file>", name, content) }
	for name, tc := range map[string]struct {
		parts []object
		want  []string
	}{
		"PNG": {[]object{text("What is this?"), {"type": "input_image", "image_url": dataURL("image/png", pngBytes)}},
			[]string{"What is this?", picture(dataURL("image/png", pngBytes), "")}},
		"JPEG with detail": {[]object{{"type": "input_image", "image_url": dataURL("image/jpeg", jpegBytes), "detail": "low"}, text("?")},
			[]string{picture(dataURL("image/jpeg", jpegBytes), "low"), "?"}},
		"GIF, called something else": {[]object{text("?"), {"type": "input_image", "image_url": dataURL("image/png", gifBytes)}},
			[]string{"?", picture(dataURL("image/gif", gifBytes), "")}},
		"WebP without a type": {[]object{text("?"), {"type": "input_image", "image_url": "data:;base64," + base64.StdEncoding.EncodeToString(webpBytes)}},
			[]string{"?", picture(dataURL("image/webp", webpBytes), "")}},
		"by escapes": {[]object{text("?"), {"type": "input_image", "image_url": "data:image/gif," + url.PathEscape(string(gifBytes))}},
			[]string{"?", picture(dataURL("image/gif", gifBytes), "")}},
		"by URL": {[]object{text("?"), {"type": "input_image", "image_url": "https://images.example/a.png?b=c", "detail": "high"}},
			[]string{"?", picture("https://images.example/a.png?b=c", "high")}},
		"several, in order": {[]object{text("a"), {"type": "input_image", "image_url": dataURL("image/png", pngBytes)}, text("b"),
			{"type": "input_image", "image_url": dataURL("image/gif", gifBytes), "detail": "auto"}, text("c")},
			[]string{"a", picture(dataURL("image/png", pngBytes), ""), "b", picture(dataURL("image/gif", gifBytes), "auto"), "c"}},
		"picture alone": {[]object{{"type": "input_image", "image_url": dataURL("image/png", pngBytes)}}, []string{picture(dataURL("image/png", pngBytes), "")}},
		"PDF": {[]object{text("?"), {"type": "input_file", "filename": "a.pdf", "file_data": dataURL("application/pdf", pdfBytes)}},
			[]string{"?", document("a.pdf", dataURL("application/pdf", pdfBytes))}},
		"PDF in bare base64": {[]object{text("?"), {"type": "input_file", "filename": "a.pdf", "file_data": base64.StdEncoding.EncodeToString(pdfBytes)}},
			[]string{"?", document("a.pdf", dataURL("application/pdf", pdfBytes))}},
		"PDF without a name": {[]object{text("?"), {"type": "input_file", "file_data": dataURL("application/pdf", pdfBytes)}},
			[]string{"?", document("document", dataURL("application/pdf", pdfBytes))}},
		"text file": {[]object{text("?"), {"type": "input_file", "filename": "a.md", "file_data": dataURL("text/markdown", []byte("# Größe\n"))}},
			[]string{"?\n\n" + file("a.md", "# Größe\n")}},
		"JSON file": {[]object{text("?"), {"type": "input_file", "filename": "a.json", "file_data": dataURL("application/json", []byte(`{"a":1}`))}},
			[]string{"?\n\n" + file("a.json", `{"a":1}`)}},
		"program called an image": {[]object{text("?"), {"type": "input_file", "filename": "a.py", "file_data": dataURL("image/png", []byte("print(1)"))}},
			[]string{"?\n\n" + file("a.py", "print(1)")}},
		"picture as a file": {[]object{text("?"), {"type": "input_file", "filename": "a.png", "file_data": dataURL("image/png", pngBytes)}},
			[]string{"?", picture(dataURL("image/png", pngBytes), "")}},
		"path for a name": {[]object{text("?"), {"type": "input_file", "filename": "../../etc/passwd", "file_data": dataURL("text/plain", []byte("x"))}},
			[]string{"?\n\n" + file("passwd", "x")}},
		"quotes in a name": {[]object{text("?"), {"type": "input_file", "filename": "a\"b\n.txt", "file_data": dataURL("text/plain", []byte("x"))}},
			[]string{"?\n\n" + file("a\"b\n.txt", "x")}},
		"text file alone": {[]object{{"type": "input_file", "filename": "a.txt", "file_data": dataURL("text/plain", []byte("x"))}}, []string{file("a.txt", "x")}},
	} {
		t.Run(name, func(t *testing.T) {
			s := s.with(t)
			wait := s.begin(http.MethodPost, "/v1/responses", partsOf(tc.parts...))
			c := p.nextFor(t)
			if got := c.userParts(t); !sameJSON(got, tc.want) {
				t.Errorf("the model is sent\n%q\nwant\n%q", got, tc.want)
			}
			c.say("ok")
			a := wait()
			a.ok()
			r := decode[response](t, a.body)
			wait = s.begin(http.MethodPost, "/v1/responses", object{"input": "again?", "previous_response_id": r.ID, "stream": false})
			c = p.nextFor(t)
			c.Messages = c.Messages[:len(c.Messages)-1] // the new question
			if got := c.userParts(t); !sameJSON(got, tc.want) {
				t.Errorf("in the next turn the model is sent\n%q\nwant\n%q", got, tc.want)
			}
			c.say("ok")
			wait().ok()
			if o := s.get("/v1/conversations/" + r.ConversationID).ok(); o["title"] == "" || strings.Contains(str(o, "title"), "<file") {
				t.Errorf("title %q", o["title"])
			}
		})
	}
}

func TestContentRefusals(t *testing.T) {
	t.Parallel()
	s, unchanged := badInput(t)
	defer unchanged()
	image := func(url any) object { return object{"type": "input_image", "image_url": url} }
	file := func(data any) object { return object{"type": "input_file", "filename": "a", "file_data": data} }
	for name, tc := range map[string]struct {
		part object
		loc  string
	}{
		"bad base64":             {image("data:image/png;base64,!!!"), "image_url"},
		"cut base64":             {image("data:image/png;base64,iVBORw0KGg"), "image_url"},
		"no comma":               {image("data:image/png;base64"), "image_url"},
		"bad media type":         {image("data:image/;base64,AAAA"), "image_url"},
		"bad escapes":            {image("data:image/gif,%zz"), "image_url"},
		"empty data":             {image("data:image/png;base64,"), "image_url"},
		"text for an image":      {image(dataURL("image/png", []byte("hello"))), "image_url"},
		"SVG":                    {image(dataURL("image/svg+xml", []byte("<svg xmlns='http://www.w3.org/2000/svg'/>"))), "image_url"},
		"PDF for an image":       {image(dataURL("image/png", pdfBytes)), "image_url"},
		"empty URL":              {image(""), "image_url"},
		"file URL":               {image("file:///etc/passwd"), "image_url"},
		"ftp":                    {image("ftp://x.example/a.png"), "image_url"},
		"relative URL":           {image("/a.png"), "image_url"},
		"credentials in the URL": {image("https://user:pass@x.example/a.png"), "image_url"},
		"javascript":             {image("javascript:alert(1)"), "image_url"},
		"number":                 {image(7), "image_url"},
		"no URL":                 {object{"type": "input_image"}, "image_url"},
		"null URL":               {image(nil), "image_url"},
		"detail":                 {object{"type": "input_image", "image_url": "https://x.example/a.png", "detail": "sharp"}, "detail"},
		"image by id":            {object{"type": "input_image", "file_id": "file_1"}, "file_id"},
		"file by id":             {object{"type": "input_file", "file_id": "file_1"}, "file_id"},
		"no data":                {object{"type": "input_file", "filename": "a.pdf"}, "file_data"},
		"bad base64 of a file":   {file("!!!"), "file_data"},
		"binary file":            {file(dataURL("application/zip", []byte("PK\x03\x04\x00\x00\xff"))), "file_data"},
		"NUL in a text file":     {file(dataURL("text/plain", []byte("a\x00b"))), "file_data"},
		"bad UTF-8 in a file":    {file(dataURL("text/plain", []byte("a\xff"))), "file_data"},
		"file URL of a file":     {object{"type": "input_file", "file_url": "file:///etc/passwd"}, "file_data"},
		"audio":                  {object{"type": "input_audio", "input_audio": object{"data": "AAAA", "format": "wav"}}, "type"},
		"invented":               {object{"type": "input_smell"}, "type"},
		"no type":                {object{"text": "x"}, "type"},
		"text is a number":       {object{"type": "input_text", "text": 7}, ""},
		"no text":                {object{"type": "input_text"}, "text"},
	} {
		a := s.post("/v1/responses", partsOf(text("?"), tc.part))
		d, _ := a.refused(http.StatusUnprocessableEntity, "")["detail"].([]any)
		want := strings.TrimSpace("[body input 0 content 1 " + tc.loc)
		if tc.loc == "" {
			want = "[body input 0 content"
		}
		if len(d) != 1 || fmt.Sprint(d[0].(object)["loc"]) != want+"]" {
			t.Errorf("%s: %v", name, a)
		}
	}
	for _, role := range []string{"assistant", "system", "developer"} {
		for _, part := range []object{image(dataURL("image/png", pngBytes)), file(dataURL("application/pdf", pdfBytes))} {
			s.post("/v1/responses", object{"input": []object{{"role": role, "content": []object{part}}, {"role": "user", "content": "q"}}}).refused(http.StatusUnprocessableEntity, "")
		}
	}
	huge := dataURL("image/png", append(bytes.Clone(pngBytes), make([]byte, 8<<20)...))
	s.post("/v1/responses", partsOf(text("?"), image(huge))).refused(http.StatusRequestEntityTooLarge, "Request body too large")
	conn := s.dial()
	for name, in := range map[string]*antonv1.InputItem{
		"no part":          {Role: "user", Content: []*antonv1.ContentPart{{Image: &antonv1.InputImage{}}}},
		"text for a PNG":   {Role: "user", Content: []*antonv1.ContentPart{{Image: &antonv1.InputImage{Url: "data:image/png,hello"}}}},
		"NUL in a text":    {Role: "user", Content: []*antonv1.ContentPart{{Text: "a\x00b"}}},
		"NUL in a name":    {Role: "user", Content: []*antonv1.ContentPart{{File: &antonv1.InputFile{Filename: "a\x00b", Data: "data:text/plain,x"}}}},
		"NUL in a call id": {FunctionCallOutput: &antonv1.FunctionCallOutput{CallId: "a\x00b", Output: "x"}},
		"no call id":       {FunctionCallOutput: &antonv1.FunctionCallOutput{Output: "x"}},
		"call of no name":  {FunctionCall: &antonv1.FunctionCallItem{CallId: "x"}},
	} {
		err := firstOf(antonv1.NewResponsesServiceClient(conn).CreateResponse(s.call(), &antonv1.CreateResponseRequest{Input: append(user("q"), in)}))
		wantCode(t, name, err, codes.InvalidArgument)
	}
}

// A picture that a row of the store cannot hold is kept as well as a small one.
func TestContentThatIsLarge(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	s := start(t, withModel(p))
	big := append(bytes.Clone(pngBytes), bytes.Repeat([]byte("picture!"), 100_000)...)
	wait := s.begin(http.MethodPost, "/v1/responses", partsOf(text("What is this?"), object{"type": "input_image", "image_url": dataURL("image/png", big)}))
	p.next().say("Large.")
	a := wait()
	a.ok()
	r := decode[response](t, a.body)
	s.kill()
	s.restart()
	wait = s.begin(http.MethodPost, "/v1/responses", object{"input": "again?", "previous_response_id": r.ID, "stream": false})
	c := p.next()
	c.Messages = c.Messages[:len(c.Messages)-1]
	if got := c.userParts(t); len(got) != 2 || !strings.Contains(got[1], base64.StdEncoding.EncodeToString(big)) {
		t.Errorf("the model is sent %d parts", len(got))
	}
	c.say("Still.")
	wait().ok()
	whole := s.get("/v1/responses/" + r.ID + "/input_items")
	whole.ok()
	if !bytes.Contains(whole.body, []byte(base64.StdEncoding.EncodeToString(big))) {
		t.Errorf("input items: %d bytes", len(whole.body))
	}
}

// Without a model there is nobody to look at a picture, and that is said.
func TestContentWithoutAModel(t *testing.T) {
	t.Parallel()
	s := start(t)
	a := s.post("/v1/responses", partsOf(text("What is this?"), object{"type": "input_image", "image_url": dataURL("image/png", pngBytes)}))
	if a.status >= 500 || a.status == http.StatusOK && decode[response](t, a.body).OutputText == "" {
		t.Errorf("%v", a)
	}
	r := s.create(partsOf(text("Summarise this."), object{"type": "input_file", "filename": "n.md", "file_data": dataURL("text/markdown", []byte(ferry))}))
	if r.Status != "completed" || r.OutputText == "" {
		t.Errorf("%+v", r)
	}
}
