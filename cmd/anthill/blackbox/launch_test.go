package blackbox

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	antonv1 "anthill/gen/anton/v1"
)

var launchLine = regexp.MustCompile(`(?m)^open (http://127\.0\.0\.1:\d+/launch\?code=\S+) in a browser \(works once, within ten minutes\)$`)

// launchLink is the one that the program printed when it started. What it wrote
// to standard error may get here later than what it wrote to standard output.
func (s *server) launchLink() string {
	s.t.Helper()
	var m []string
	s.eventually("it prints a launch link", func() bool {
		m = launchLine.FindStringSubmatch(s.stderr.String())
		return m != nil
	})
	return m[1]
}

// launchBrowser follows a launch link and returns the cookie that it sets.
func (s *server) launchBrowser(link string) *http.Cookie {
	s.t.Helper()
	a := s.follow(link)
	list := (&http.Response{Header: a.header}).Cookies()
	if a.status != http.StatusSeeOther || a.header.Get("Location") != "/" || len(list) != 1 {
		s.t.Fatalf("%v: %v", a, a.header)
	}
	return list[0]
}

func (s *server) follow(link string) answer {
	s.t.Helper()
	_, path, _ := strings.Cut(strings.TrimPrefix(link, "http://"), "/")
	anonymous := *s
	anonymous.opts.key = ""
	return anonymous.do(http.MethodGet, "/"+path, nil, headers("Sec-Fetch-Site", "none", "Sec-Fetch-Mode", "navigate", "User-Agent", "a browser"))
}

func TestLaunchLinkLetsABrowserIn(t *testing.T) {
	t.Parallel()
	s := start(t, withKey(apiKey))
	anonymous := *s
	anonymous.opts.key = ""
	a := &anonymous
	link := s.launchLink()
	cookie := s.launchBrowser(link)
	port := s.addr[strings.LastIndexByte(s.addr, ':')+1:]
	if cookie.Name != "anthill-"+port || !cookie.HttpOnly || cookie.SameSite != http.SameSiteStrictMode || cookie.Path != "/" || cookie.Secure || cookie.Domain != "" || cookie.MaxAge < 30*24*3600 {
		t.Errorf("cookie: %v", cookie)
	}
	again := s.follow(link)
	if again.status != http.StatusForbidden || again.header.Get("Set-Cookie") != "" || !strings.Contains(string(again.body), "anthill link") {
		t.Errorf("the link, again: %v", again)
	}
	for _, query := range []string{"", "?code=", "?code=x", "?code=%00", "?code=" + strings.Repeat("x", 5000)} {
		if got := s.follow(s.url + "/launch" + query); got.status != http.StatusForbidden || got.header.Get("Set-Cookie") != "" {
			t.Errorf("%v", got)
		}
	}
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete} {
		if got := a.do(method, "/launch?code=x", nil); got.status != http.StatusMethodNotAllowed || got.header.Get("Allow") == "" {
			t.Errorf("%v", got)
		}
	}
	text := cookie.Name + "=" + cookie.Value
	read, write := headers("Cookie", text), headers("Cookie", text, "Origin", s.url)
	o := a.do(http.MethodGet, "/v1/access/caller", nil, read).ok()
	if str(o, "kind") != "session" || str(o, "id") == "" {
		t.Errorf("caller: %v", o)
	}
	a.do(http.MethodPost, "/v1/projects", object{"name": "by cookie"}, write).ok()
	a.do(http.MethodPost, "/api/sessions", object{"name": "by cookie", "type": "chat"}, write).created()
	a.do(http.MethodGet, "/", nil, read).ok()
	a.do(http.MethodPost, "/v1/projects", object{"name": "stolen"}, headers("Cookie", text, "Origin", "http://evil.example")).refused(http.StatusForbidden, "")
	a.do(http.MethodPost, "/v1/projects", object{"name": "stolen"}, read).refused(http.StatusUnauthorized, "")

	s.stop()
	s.restart()
	anonymous = *s
	anonymous.opts.key = ""
	text = "anthill-" + s.addr[strings.LastIndexByte(s.addr, ':')+1:] + "=" + cookie.Value // another port: tests choose none
	read = headers("Cookie", text)
	if got := str(a.do(http.MethodGet, "/v1/access/caller", nil, read).ok(), "kind"); got != "session" {
		t.Errorf("after a restart: %s", got)
	}
	if got := s.follow(link); got.status != http.StatusForbidden {
		t.Errorf("the link, after a restart: %v", got)
	}

	out, errs, code := command(t, s.environ(), "", "link")
	if code != 0 || errs != "" {
		t.Fatalf("anthill link: %d %q %q", code, out, errs)
	}
	second := s.launchBrowser(strings.TrimSpace(out))
	list := s.get("/v1/access/sessions").ok()["sessions"].([]any)
	if len(list) != 2 || str(list[0].(object), "user_agent") != "a browser" {
		t.Fatalf("sessions: %v", list)
	}
	s.delete("/v1/access/sessions/" + str(o, "id")).ok()
	a.do(http.MethodGet, "/v1/access/caller", nil, read).refused(http.StatusUnauthorized, "")
	mine := headers("Cookie", second.Name+"="+second.Value, "Origin", s.url)
	bye := a.do(http.MethodPost, "/v1/access/sign-out", object{}, mine)
	if gone := (&http.Response{Header: bye.header}).Cookies(); bye.ok()["revoked"] != true || len(gone) != 1 || gone[0].Name != second.Name || gone[0].MaxAge >= 0 {
		t.Errorf("signed out: %v %v", bye, bye.header)
	}
	a.do(http.MethodGet, "/v1/access/caller", nil, mine).refused(http.StatusUnauthorized, "")
	if got := s.post("/v1/access/sign-out", object{}).ok(); got["revoked"] != false {
		t.Errorf("the key was signed out: %v", got)
	}
	s.stop()
	spotless(t, s, apiKey, cookie.Value, second.Value, strings.TrimSpace(out)[strings.Index(out, "code=")+5:])
}

// Behind a proxy that adds TLS and a path, the cookie is Secure and the browser
// is led back to where it came from.
func TestLaunchLinkBehindAProxy(t *testing.T) {
	t.Parallel()
	s := start(t, withKey(apiKey), withEnv("ANTHILL_BASE_PATH=/anthill", "ANTHILL_ALLOWED_HOSTS=my.example", "ANTHILL_TRUSTED_PROXIES=127.0.0.1"))
	_, path, _ := strings.Cut(strings.TrimPrefix(s.launchLink(), "http://"), "/")
	anonymous := *s
	anonymous.opts.key = ""
	proxied := []string{"Host", "my.example", "X-Forwarded-Proto", "https"}
	a := anonymous.do(http.MethodGet, "/anthill/"+path, nil, headers(proxied...))
	list := (&http.Response{Header: a.header}).Cookies()
	if a.status != http.StatusSeeOther || a.header.Get("Location") != "./" || len(list) != 1 || list[0].Name != "__Host-anthill-443" || !list[0].Secure || list[0].Path != "/" {
		t.Fatalf("%v %v", a, a.header)
	}
	text := list[0].Name + "=" + list[0].Value
	anonymous.do(http.MethodPost, "/anthill/v1/projects", object{"name": "p"}, headers(append(proxied, "Cookie", text, "Origin", "https://my.example")...)).ok()
	anonymous.do(http.MethodPost, "/anthill/v1/projects", object{"name": "q"}, headers(append(proxied, "Cookie", text, "Origin", "http://localhost:5173")...)).refused(http.StatusUnauthorized, "")
}

// accessRoutes are those of AccessService.
func (e *everyRoute) accessRoutes(t *testing.T) {
	c, err := e.access.GetCaller(e.s.call(), &antonv1.GetCallerRequest{})
	same(e, e.call("GET /v1/access/caller", nil), c, err)
	code, err := e.access.CreateLaunchCode(e.s.call(), &antonv1.CreateLaunchCodeRequest{})
	alike(e, e.call("POST /v1/access/launch-codes", object{}), code, err)
	if _, err := e.access.OpenBrowserSession(e.s.call(), &antonv1.OpenBrowserSessionRequest{Code: code.GetCode(), UserAgent: "gRPC"}); err != nil {
		t.Error(err)
	}
	e.s.launchBrowser(e.s.launchLink())
	l, err := e.access.ListBrowserSessions(e.s.call(), &antonv1.ListBrowserSessionsRequest{})
	same(e, e.call("GET /v1/access/sessions", nil), l, err)
	r, err := e.access.RevokeBrowserSession(e.s.call(), &antonv1.RevokeBrowserSessionRequest{Id: l.GetSessions()[0].Id})
	same(e, e.call("DELETE /v1/access/sessions/{id}", nil, l.GetSessions()[1].Id), r, err)
	o, err := e.access.SignOut(e.s.call(), &antonv1.SignOutRequest{})
	same(e, e.call("POST /v1/access/sign-out", object{}), o, err)
	st, err := e.access.WatchCaller(e.s.call(), &antonv1.WatchCallerRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := st.Recv(); err != nil || got.Kind != "local" {
		t.Errorf("watched: %v %v", got, err)
	}
}
