// Package web gives a model the tool to read a page of the web: web_fetch.
//
// Rooms enter through Tools. The tool only reads, only by http and https, and
// only from addresses of the internet: where a name or a redirect leads is
// checked when the connection is made. It sends nothing that tells of the user.
package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	htmltomarkdown "github.com/JohannesKaufmann/html-to-markdown/v2"
	"github.com/JohannesKaufmann/html-to-markdown/v2/converter"
	"golang.org/x/net/html/charset"

	"anthill/services/internal/agent"
	"anthill/services/internal/dial"
)

// FetchTool is the name of the tool.
const FetchTool = "web_fetch"

const (
	fetchWithin = 30 * time.Second
	bodyMax     = 5 << 20 // bytes that are read of a page
	charsMax    = 200_000
	charsUsual  = 20_000
	hopsMax     = 5
)

// Tools returns the tools. p says which addresses they may connect to; its zero
// value is the internet only.
func Tools(p dial.Policy) []agent.Tool {
	c := dial.Client(dial.Options{Policy: p})
	c.Timeout = fetchWithin
	c.CheckRedirect = func(next *http.Request, via []*http.Request) error {
		if len(via) > hopsMax {
			return errors.New("the page redirects too often")
		}
		return checkURL(next.URL)
	}
	return []agent.Tool{fetcher{c}}
}

type fetcher struct{ client *http.Client }

func (fetcher) Spec() agent.ToolSpec {
	return agent.ToolSpec{
		Name: FetchTool,
		Description: "Read a page of the web by its address. Returns its text, web pages as Markdown. " +
			"Only public http and https addresses can be read, and only what needs no login.",
		Schema: json.RawMessage(`{"type":"object","properties":{` +
			`"url":{"type":"string","description":"Address that begins with http:// or https://"},` +
			`"max_chars":{"type":"integer","minimum":1,"maximum":200000,"description":"Characters to return at most, 20000 by default"}},` +
			`"required":["url"],"additionalProperties":false}`),
	}
}

func (f fetcher) Run(ctx context.Context, input json.RawMessage) (text string, err error) {
	var in struct {
		URL      string `json:"url"`
		MaxChars int    `json:"max_chars"`
	}
	if err := json.Unmarshal(input, &in); err != nil {
		return "", fmt.Errorf("the input is not as %s needs it: %w", FetchTool, err)
	}
	if in.MaxChars < 1 || in.MaxChars > charsMax {
		in.MaxChars = charsUsual
	}
	u, err := url.Parse(strings.TrimSpace(in.URL))
	if err != nil {
		return "", errors.New("the address cannot be read")
	}
	if err := checkURL(u); err != nil {
		return "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("User-Agent", "anthill")
	req.Header.Set("Accept", "text/html, text/markdown, text/plain, application/json, application/xml;q=0.9, */*;q=0.5")
	res, err := f.client.Do(req)
	if err != nil {
		return "", explain(err)
	}
	defer func() { err = errors.Join(err, res.Body.Close()) }()
	if res.StatusCode >= 300 {
		return "", fmt.Errorf("%s answers with status %d", res.Request.URL.Host, res.StatusCode)
	}
	text, err = read(res)
	if err != nil {
		return "", err
	}
	more := ""
	if utf8.RuneCountInString(text) > in.MaxChars {
		text = string([]rune(text)[:in.MaxChars])
		more = fmt.Sprintf("\n\n[The page is longer: these are its first %d characters.]", in.MaxChars)
	}
	return fmt.Sprintf("%s\n\n%s%s", res.Request.URL, strings.TrimSpace(text), more), nil
}

func checkURL(u *url.URL) error {
	switch {
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return errors.New("only addresses that begin with http:// or https:// can be read")
	case u.User != nil:
		return errors.New("an address with a user name or password cannot be read")
	}
	return nil
}

// explain says what a model can use of a failed call.
func explain(err error) error {
	switch {
	case errors.Is(err, dial.ErrRefused):
		return errors.New("this address is not on the public internet and cannot be read")
	case errors.Is(err, context.DeadlineExceeded):
		return errors.New("the page did not answer in time")
	}
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	return fmt.Errorf("the page cannot be read: %w", err)
}

// read returns the text of a page.
func read(res *http.Response) (string, error) {
	kind, _, err := mime.ParseMediaType(res.Header.Get("Content-Type"))
	if err != nil {
		kind = "text/plain"
	}
	switch {
	case strings.HasPrefix(kind, "text/"), strings.HasSuffix(kind, "json"), strings.HasSuffix(kind, "xml"):
	default:
		return "", fmt.Errorf("the page is of type %s, which is not text", kind)
	}
	decoded, err := charset.NewReader(io.LimitReader(res.Body, bodyMax), res.Header.Get("Content-Type"))
	if err != nil {
		return "", fmt.Errorf("the page cannot be read: %w", err)
	}
	body, err := io.ReadAll(io.LimitReader(decoded, 2*bodyMax))
	if err != nil {
		return "", explain(err)
	}
	if kind != "text/html" && kind != "application/xhtml+xml" {
		return strings.ToValidUTF8(string(body), "\uFFFD"), nil
	}
	md, err := htmltomarkdown.ConvertString(string(body), converter.WithDomain(res.Request.URL.Scheme+"://"+res.Request.URL.Host))
	if err != nil {
		return "", fmt.Errorf("the page cannot be read: %w", err)
	}
	return md, nil
}
