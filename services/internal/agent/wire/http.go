package wire

import (
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

var versioned = regexp.MustCompile(`/v\d[^/]*(/|$)`)

// baseURL is the address under which the API's paths are. /v1 is added unless
// some version is in the path already, since not every server has it at the end.
func baseURL(raw string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimSpace(raw))
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("wire: base URL is not an http or https URL") // it may hold a password: not quoted
	}
	u.RawPath, u.RawQuery, u.Fragment = "", "", ""
	u.Path = strings.TrimRight(u.Path, "/")
	for _, call := range []string{"/chat/completions", "/responses", "/messages"} {
		u.Path = strings.TrimSuffix(u.Path, call) // what people copy from an example
	}
	if !versioned.MatchString(u.Path) {
		u.Path += "/v1"
	}
	return u, nil
}

// follow is the client with redirects to other hosts refused: a key in a header
// of its own would go along.
func follow(client *http.Client) *http.Client {
	c := http.Client{Transport: transport()}
	if client != nil {
		c = *client
	}
	if c.CheckRedirect == nil {
		c.CheckRedirect = func(req *http.Request, via []*http.Request) error {
			from := via[0].URL
			if len(via) > 3 || req.URL.Hostname() != from.Hostname() || req.Method != http.MethodPost ||
				req.URL.Scheme != "https" && from.Scheme == "https" {
				return http.ErrUseLastResponse
			}
			return nil
		}
	}
	return &c
}

func transport() http.RoundTripper {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.DisableCompression = true // a compressor on the way would hold tokens back
	t.MaxIdleConnsPerHost = 64  // turns run side by side, mostly at one host
	t.ReadBufferSize = 32 << 10 // a burst of small chunks in few reads
	return t
}
