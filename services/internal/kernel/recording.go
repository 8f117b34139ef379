package kernel

import (
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
)

// Limits bound what one cell leaves. Zero fields take their defaults.
type Limits struct {
	Text     int // bytes of stdout, and of stderr: the first three quarters and the last one; 256 KiB
	Logs     int // bytes; 64 KiB
	Outputs  int // displays; 100
	Display  int // bytes of all displays together; 2 MiB
	Progress int // messages that are passed on; 1000
}

func (l Limits) orDefaults() Limits {
	for _, d := range []struct {
		field *int
		value int
	}{{&l.Text, 256 << 10}, {&l.Logs, 64 << 10}, {&l.Outputs, 100}, {&l.Display, 2 << 20}, {&l.Progress, 1000}} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	return l
}

// recording collects what a cell does and passes it on. Safe for concurrent use.
type recording struct {
	limits Limits
	sink   func(Event)

	mu         sync.Mutex
	out, err   *text
	logs       *text
	outputs    []Output
	shown      int // bytes in outputs
	left       int // outputs that were left out
	progressed int
}

func newRecording(l Limits, sink func(Event)) *recording {
	r := &recording{limits: l, sink: sink}
	r.clear()
	return r
}

func (r *recording) clear() {
	r.out, r.err, r.logs = newText(r.limits.Text), newText(r.limits.Text), newText(r.limits.Logs)
	r.outputs, r.shown, r.left = nil, 0, 0
}

// again forgets what a first attempt left.
func (r *recording) again(message string) {
	r.mu.Lock()
	r.clear()
	r.mu.Unlock()
	r.progress(message, nil)
}

// print takes bytes of stdout or stderr.
func (r *recording) print(stderr bool, data []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	to := r.out
	if stderr {
		to = r.err
	}
	r.pass(stderr, to.add(data))
}

func (r *recording) pass(stderr bool, live string) {
	switch {
	case live == "":
	case stderr:
		r.sink(Event{Stderr: live})
	default:
		r.sink(Event{Stdout: live})
	}
}

func (r *recording) log(s string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.logs.add([]byte(s))
}

func (r *recording) progress(message string, percent *float64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.progressed++; r.progressed <= r.limits.Progress {
		r.sink(Event{Progress: &Progress{Message: cut(message, 2000), Percent: percent}})
	}
}

// display takes something to show; what is too much is named in its place.
func (r *recording) display(o Output) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.outputs) >= r.limits.Outputs {
		r.left++
		return
	}
	if o.Kind != Resulted {
		o.Kind = Displayed
	}
	kept := map[string]string{}
	for _, mime := range slices.SortedFunc(maps.Keys(o.Data), plainFirst) {
		data := o.Data[mime]
		if len(kept) == typesMost || !Textual(mime) && !isBase64(data) {
			continue
		}
		if r.shown+len(mime)+len(data) > r.limits.Display {
			note := fmt.Sprintf("[%s of %d bytes left out: the displays of one cell have %d bytes]", mime, len(data), r.limits.Display)
			kept["text/plain"] = strings.TrimSpace(cut(kept["text/plain"], 1000) + "\n" + note)
			continue
		}
		r.shown += len(mime) + len(data)
		kept[mime] = data
	}
	if len(kept) == 0 {
		return
	}
	o.Data = kept
	r.outputs = append(r.outputs, o)
	r.sink(Event{Display: &o})
}

const typesMost = 20 // representations of one value

func plainFirst(a, b string) int {
	if (a == "text/plain") != (b == "text/plain") {
		if a == "text/plain" {
			return -1
		}
		return 1
	}
	return strings.Compare(a, b)
}

// Textual says whether data of a MIME type is text; other data is base64.
func Textual(mime string) bool {
	return strings.HasPrefix(mime, "text/") || strings.HasSuffix(mime, "json") || strings.HasSuffix(mime, "xml") ||
		mime == "application/javascript"
}

func isBase64(s string) bool {
	_, err := base64.StdEncoding.DecodeString(s)
	return err == nil && s != ""
}

// result is what has collected, as that of a cell that has ended.
func (r *recording) result(status, problem string) Result {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pass(false, r.out.end())
	r.pass(true, r.err.end())
	r.logs.end()
	res := Result{Status: status, Error: cut(problem, errorMost), Stdout: r.out.String(), Stderr: r.err.String(),
		Logs: r.logs.String(), Outputs: r.outputs}
	if r.left > 0 {
		res.Outputs = append(slices.Clone(r.outputs), Output{Kind: Displayed, Data: map[string]string{
			"text/plain": fmt.Sprintf("[%d more displays left out]", r.left)}})
	}
	return res
}

const errorMost = 24_000 // bytes of a traceback

// cut takes the middle out of a text that is too long.
func cut(s string, most int) string {
	t := newText(most)
	t.add([]byte(s))
	t.end()
	return t.String()
}

// text keeps the first three quarters and the last quarter of what it is given,
// as valid UTF-8.
type text struct {
	most    int
	head    []byte
	tail    []byte
	total   int
	partial []byte // the beginning of a character
	told    bool   // that not everything is shown
}

func newText(most int) *text { return &text{most: most} }

// add returns what of data may be shown now.
func (t *text) add(data []byte) (live string) {
	if len(t.partial) > 0 {
		data = append(t.partial, data...)
		t.partial = nil
	}
	n := whole(data)
	t.partial = append([]byte(nil), data[n:]...)
	return t.put(strings.ToValidUTF8(string(data[:n]), "\uFFFD"))
}

// end takes what can no longer become a character.
func (t *text) end() (live string) {
	rest := t.partial
	t.partial = nil
	return t.put(strings.ToValidUTF8(string(rest), "\uFFFD"))
}

func (t *text) put(s string) (live string) {
	t.total += len(s)
	if room := t.most - t.most/4 - len(t.head); room > 0 && len(t.tail) == 0 {
		live = s[:boundary(s, room)]
		t.head = append(t.head, live...)
		s = s[len(live):]
	}
	if s == "" {
		return live
	}
	t.tail = append(t.tail, s...)
	if keep := t.most / 4; len(t.tail) > 2*keep+4096 {
		t.tail = append([]byte(nil), t.tail[len(t.tail)-keep:]...)
	}
	if !t.told {
		t.told = true
		live += "\n… [more output is kept with the cell and not shown here] …\n"
	}
	return live
}

func (t *text) String() string {
	tail := t.tail
	if keep := t.most / 4; len(tail) > keep {
		tail = tail[len(tail)-keep:]
		for len(tail) > 0 && !utf8.RuneStart(tail[0]) {
			tail = tail[1:]
		}
	}
	left := t.total - len(t.head) - len(tail)
	if left <= 0 {
		return string(t.head) + string(tail)
	}
	return fmt.Sprintf("%s\n… [%d bytes left out] …\n%s", t.head, left, tail)
}

// boundary is the largest index up to n between two characters of s.
func boundary(s string, n int) int {
	if n >= len(s) {
		return len(s)
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return n
}

// whole is the length of data without a last character that is not all there.
func whole(data []byte) int {
	for i := len(data) - 1; i >= 0 && i >= len(data)-utf8.UTFMax; i-- {
		if utf8.RuneStart(data[i]) {
			if !utf8.FullRune(data[i:]) {
				return i
			}
			break
		}
	}
	return len(data)
}
