package wiretest

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"anthill/services/internal/agent"
	"anthill/services/internal/agent/wire"
)

// secretWord stands in everything that a provider says of its own: people must
// never get to see it.
const secretWord = "oops-" + Key

// Failed is the *agent.Error of a call that failed as it should, with nothing in
// it that people must not see.
func Failed(t testing.TB, err error, code string) *agent.Error {
	t.Helper()
	e, ok := errors.AsType[*agent.Error](err)
	if !ok || e.Code != code {
		t.Fatalf("got %v (cause %v), want %s", err, errors.Unwrap(err), code)
	}
	for _, word := range []string{"canary", "oops", "<html>"} {
		if strings.Contains(e.Error(), word) || strings.Contains(e.Message, word) {
			t.Errorf("the message has %q: %s", word, e.Error())
		}
	}
	if cause := errors.Unwrap(e); cause == nil || strings.Contains(cause.Error(), "canary") || len(cause.Error()) > 1000 {
		t.Errorf("cause %.300v", cause)
	}
	return e
}

type refusal struct {
	status int
	body   string
	code   string
}

func openAI(kind, code, text string) string {
	return `{"error":{"message":"` + text + " " + secretWord + `","type":"` + kind + `","param":null,"code":"` + code + `"}}`
}

func claude(kind, text string) string {
	return `{"type":"error","error":{"type":"` + kind + `","message":"` + text + " " + secretWord + `"},"request_id":"req_1"}`
}

func gemini(code, status, text, details string) string {
	return `[{"error":{"code":` + code + `,"message":"` + text + " " + secretWord + `","status":"` + status + `","details":[` + details + `]}}]`
}

// refusals are what servers are known to answer.
var refusals = map[string]refusal{
	"OpenAI, bad key":         {401, openAI("invalid_request_error", "invalid_api_key", "Incorrect API key provided: "+Key), agent.CodeAuth},
	"OpenAI, quota":           {429, openAI("insufficient_quota", "insufficient_quota", "You exceeded your current quota, please check your plan and billing details."), agent.CodeTokenLimit},
	"OpenAI, hard limit":      {400, openAI("invalid_request_error", "billing_hard_limit_reached", "Billing hard limit has been reached"), agent.CodeTokenLimit},
	"OpenAI, not active":      {429, openAI("billing_not_active", "billing_not_active", "Your account is not active, please check your billing details on our website."), agent.CodePolicy},
	"OpenAI, deactivated":     {401, openAI("invalid_request_error", "account_deactivated", "The account has been deactivated"), agent.CodePolicy},
	"OpenAI, country":         {403, openAI("request_forbidden", "unsupported_country_region_territory", "Country, region, or territory not supported"), agent.CodePolicy},
	"OpenAI, no access":       {403, openAI("invalid_request_error", "model_not_found", "Project does not have access to model x"), agent.CodeModelAccess},
	"OpenAI, not verified":    {400, openAI("invalid_request_error", "unsupported_value", "Your organization must be verified to stream this model."), agent.CodeModelAccess},
	"OpenAI, unknown model":   {404, openAI("invalid_request_error", "model_not_found", "The model x does not exist"), agent.CodeUnknownModel},
	"OpenAI, unknown address": {404, openAI("invalid_request_error", "unknown_url", "Unknown request URL: POST /v1/x"), agent.CodeUnreachable},
	"OpenAI, overflow":        {400, openAI("invalid_request_error", "context_length_exceeded", "Your input exceeds the context window of this model."), agent.CodeContext},
	"OpenAI, more than a minute's tokens": {429, openAI("tokens", "rate_limit_exceeded", "Request too large for x on tokens per min (TPM): Limit 30000, Requested 40000."),
		agent.CodeContext},
	"OpenAI, rate":           {429, openAI("requests", "rate_limit_exceeded", "Rate limit reached"), agent.CodeRateLimited},
	"OpenAI, image":          {400, openAI("invalid_request_error", "invalid_image_format", "You uploaded an unsupported image."), agent.CodeImage},
	"OpenAI, image URL":      {400, openAI("invalid_request_error", "invalid_image_url", "Error while downloading image."), agent.CodeImage},
	"OpenAI, blind":          {400, openAI("invalid_request_error", "", "Invalid content type. image_url is only supported by certain models."), agent.CodeUnsupported},
	"OpenAI, no format":      {400, openAI("invalid_request_error", "", "Invalid parameter: 'response_format' of type 'json_schema' is not supported with this model."), agent.CodeUnsupported},
	"OpenAI, bad schema":     {400, openAI("invalid_request_error", "", "Invalid schema for response_format 'x': 'required' is required"), agent.CodeInvalid},
	"OpenAI, another":        {400, openAI("invalid_request_error", "", "Invalid value for x"), agent.CodeInvalid},
	"OpenAI, broken":         {500, openAI("server_error", "", "The server had an error"), agent.CodeUnreachable},
	"OpenAI, overloaded":     {503, openAI("server_error", "", "The engine is currently overloaded"), agent.CodeOverloaded},
	"Anthropic, bad key":     {401, claude("authentication_error", "invalid x-api-key"), agent.CodeAuth},
	"Anthropic, credit":      {400, claude("invalid_request_error", "Your credit balance is too low to access the Anthropic API."), agent.CodeTokenLimit},
	"Anthropic, billing":     {402, claude("billing_error", "There is an issue with your billing"), agent.CodePolicy},
	"Anthropic, disabled":    {400, claude("invalid_request_error", "This organization has been disabled."), agent.CodePolicy},
	"Anthropic, access":      {403, claude("permission_error", "Your API key does not have permission"), agent.CodeModelAccess},
	"Anthropic, model":       {404, claude("not_found_error", "model: claude-x"), agent.CodeUnknownModel},
	"Anthropic, address":     {404, claude("not_found_error", "Not Found"), agent.CodeUnreachable},
	"Anthropic, too long":    {400, claude("invalid_request_error", "prompt is too long: 200001 tokens > 200000 maximum"), agent.CodeContext},
	"Anthropic, too long II": {400, claude("invalid_request_error", "input length and `max_tokens` exceed context limit: 1 + 2 > 3"), agent.CodeContext},
	"Anthropic, too large":   {413, claude("request_too_large", "Request exceeds the maximum size"), agent.CodeContext},
	"Anthropic, image":       {400, claude("invalid_request_error", "Could not process image"), agent.CodeImage},
	"Anthropic, PDF":         {400, claude("invalid_request_error", "The PDF specified was not valid."), agent.CodeImage},
	"Anthropic, rate":        {429, claude("rate_limit_error", "This request would exceed your organization's rate limit"), agent.CodeRateLimited},
	"Anthropic, overloaded":  {529, claude("overloaded_error", "Overloaded"), agent.CodeOverloaded},
	"Anthropic, broken":      {500, claude("api_error", "Internal server error"), agent.CodeUnreachable},
	"Anthropic, timeout":     {504, claude("timeout_error", "Request timed out"), agent.CodeTimeout},
	"Anthropic, another":     {400, claude("invalid_request_error", "messages.1: `tool_use` ids were found without `tool_result`"), agent.CodeInvalid},
	"Gemini, bad key":        {400, gemini("400", "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", `{"reason":"API_KEY_INVALID"}`), agent.CodeAuth},
	"Gemini, a minute":       {429, gemini("429", "RESOURCE_EXHAUSTED", "You exceeded your current quota, please check your plan and billing details.", `{"violations":[{"quotaId":"RequestsPerMinute"}]},{"retryDelay":"7s"}`), agent.CodeRateLimited},
	"Gemini, a day":          {429, gemini("429", "RESOURCE_EXHAUSTED", "You exceeded your current quota, please check your plan and billing details.", `{"violations":[{"quotaId":"GenerateRequestsPerDay"}]},{"retryDelay":"7s"}`), agent.CodeTokenLimit},
	"Gemini, model":          {404, gemini("404", "NOT_FOUND", "models/x is not found for API version v1main", ""), agent.CodeUnknownModel},
	"Gemini, region":         {400, gemini("400", "FAILED_PRECONDITION", "User location is not supported for the API use.", ""), agent.CodePolicy},
	"Gemini, access":         {403, gemini("403", "PERMISSION_DENIED", "Permission denied", ""), agent.CodeModelAccess},
	"Gemini, too long":       {400, gemini("400", "INVALID_ARGUMENT", "The input token count (9) exceeds the maximum number of tokens allowed (8).", ""), agent.CodeContext},
	"Gemini, image":          {400, gemini("400", "INVALID_ARGUMENT", "Unable to process input image.", ""), agent.CodeImage},
	"Gemini, overloaded":     {503, gemini("503", "UNAVAILABLE", "The model is overloaded. Please try again later.", ""), agent.CodeOverloaded},
	"Ollama, model":          {404, openAI("api_error", "", "model 'x' not found, try pulling it first"), agent.CodeUnknownModel},
	"Ollama, model, plain":   {404, `{"error":"model \"x\" not found, try pulling it first"}`, agent.CodeUnknownModel},
	"Ollama, tools":          {400, openAI("api_error", "", "registry.ollama.ai/library/x does not support tools"), agent.CodeUnsupported},
	"Ollama, address":        {404, "404 page not found " + secretWord, agent.CodeUnreachable},
	"Ollama, too long":       {400, `{"error":"the input length exceeds the context length"}`, agent.CodeContext},
	"LM Studio, none loaded": {404, openAI("invalid_request_error", "model_not_found", "No models loaded. Please load a model"), agent.CodeUnknownModel},
	"LM Studio, too long":    {400, `{"error":"The number of tokens to keep from the initial prompt is greater than the context length"}`, agent.CodeContext},
	"LM Studio, blind":       {400, `{"error":"Model does not support images. Please use a model that does."}`, agent.CodeUnsupported},
	"llama.cpp, too long":    {400, `{"error":{"code":400,"message":"the request exceeds the available context size","type":"exceed_context_size_error"}}`, agent.CodeContext},
	"llama.cpp, blind":       {500, `{"error":{"code":500,"message":"image input is not supported - hint: provide the mmproj","type":"server_error"}}`, agent.CodeUnsupported},
	"llama.cpp, loading":     {503, `{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}`, agent.CodeOverloaded},
	"vLLM, model":            {404, `{"object":"error","message":"The model x does not exist.","type":"NotFoundError","code":404}`, agent.CodeUnknownModel},
	"vLLM, tools":            {400, `{"object":"error","message":"\"auto\" tool choice requires --enable-auto-tool-choice","type":"BadRequestError","code":400}`, agent.CodeUnsupported},
	"FastAPI, address":       {404, `{"detail":"Not Found"}`, agent.CodeUnreachable},
	"FastAPI, field":         {422, `{"detail":[{"msg":"Field required","loc":["body","x"]}]}`, agent.CodeInvalid},
	"OpenRouter, credits":    {402, `{"error":{"code":402,"message":"Insufficient credits"}}`, agent.CodeTokenLimit},
	"OpenRouter, behind":     {400, `{"error":{"code":400,"message":"Provider returned error","metadata":{"raw":"{\"error\":\"prompt is too long\"}"}}}`, agent.CodeContext},
	"payment":                {402, `{"error":"pay"}`, agent.CodeTokenLimit},
	"plain":                  {401, "who are you, " + secretWord, agent.CodeAuth},
	"method":                 {405, "", agent.CodeUnreachable},
	"too large":              {413, "", agent.CodeContext},
	"timeout":                {408, "", agent.CodeTimeout},
	"unavailable":            {503, "", agent.CodeOverloaded},
	"gateway":                {502, "<html>" + secretWord + "</html>", agent.CodeUnreachable},
	"deep":                   {400, strings.Repeat("[", 60<<10), agent.CodeInvalid},
	"flood":                  {400, strings.Repeat(secretWord+" ", 1<<18), agent.CodeInvalid},
	"teapot":                 {418, secretWord, agent.CodeUnexpected},
}

func (s Subject) failures(t *testing.T) {
	for name, c := range refusals {
		t.Run(name, func(t *testing.T) {
			p := s.Provider(t, wire.Options{}, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(c.status)
				_, _ = io.WriteString(w, c.body)
			})
			_, _, err := Collect(p, agent.Request{Model: "the-model"})
			e := Failed(t, err, c.code)
			if e.Status != c.status || (e.Code == agent.CodeUnknownModel) != strings.Contains(e.Message, "the-model") && e.Code != agent.CodeModelAccess && e.Code != agent.CodeUnsupported {
				t.Errorf("%#v", e)
			}
			if want := map[bool]time.Duration{true: 7 * time.Second}[strings.Contains(c.body, "retryDelay")]; e.RetryAfter != want {
				t.Errorf("retry after %v", e.RetryAfter)
			}
		})
	}
	p := s.Provider(t, wire.Options{}, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "1.5")
		w.WriteHeader(http.StatusTooManyRequests)
	})
	_, _, err := Collect(p, agent.Request{})
	if e := Failed(t, err, agent.CodeRateLimited); e.RetryAfter != 1500*time.Millisecond {
		t.Errorf("retry after %v", e.RetryAfter)
	}
}

// inside are errors in a stream that began well.
func (s Subject) inside(t *testing.T) {
	for name, c := range map[string]struct{ event, code string }{
		"OpenAI, responses": {"event: error\ndata: " + `{"type":"error","code":"rate_limit_exceeded","message":"` + secretWord + `","param":null}`, agent.CodeRateLimited},
		"overloaded":        {"event: error\ndata: " + claude("overloaded_error", "Overloaded"), agent.CodeOverloaded},
		"rate":              {"event: error\ndata: " + claude("rate_limit_error", "slow down"), agent.CodeRateLimited},
		"broken":            {"event: error\ndata: " + claude("api_error", "Internal server error"), agent.CodeUnreachable},
		"timeout":           {"event: error\ndata: " + claude("timeout_error", ""), agent.CodeTimeout},
		"refused":           {"event: error\ndata: " + claude("invalid_request_error", ""), agent.CodeInvalid},
		"overflow":          {"event: error\ndata: {\"message\":\"context_length_exceeded\"}", agent.CodeContext},
		"status":            {"event: error\ndata: {\"error\":{\"code\":503,\"message\":\"\"}}", agent.CodeOverloaded},
		"text":              {"event: error\ndata: overloaded " + secretWord, agent.CodeOverloaded},
	} {
		t.Run(name, func(t *testing.T) {
			p := s.Provider(t, wire.Options{}, Stream(s.Says("Hi", false)+c.event+"\n\n"+s.Says("never", true)))
			got, out, err := Collect(p, agent.Request{})
			Failed(t, err, c.code)
			if got != "Hi" || out.Text != "Hi" || out.Finish != agent.FinishCut {
				t.Errorf("%q, %+v", got, out)
			}
		})
	}
}

// Dislike is something that a server refuses to be sent.
type Dislike struct {
	Field string // of the body, by path
	Says  string
	Kept  bool // it is not sent again later
}

// Concedes makes a call to a server that takes none of the fields and says so
// one by one, and then another call to see what was learned.
func Concedes(t *testing.T, s Subject, req agent.Request, dislikes []Dislike) {
	t.Helper()
	refused := map[string]int{}
	p := s.Provider(t, wire.Options{}, func(w http.ResponseWriter, r *http.Request) {
		var body map[string]any
		Body(t, &body, func(w http.ResponseWriter, r *http.Request) {
			for _, d := range dislikes {
				if has(body, d.Field) {
					refused[d.Field]++
					w.WriteHeader(http.StatusBadRequest)
					_, _ = io.WriteString(w, `{"error":{"type":"invalid_request_error","message":`+strconv.Quote(d.Says)+`}}`)
					return
				}
			}
			Stream(s.Says("ok", true))(w, r)
		})(w, r)
	})
	for range 2 {
		if got, _, err := Collect(p, req); err != nil || got != "ok" {
			t.Fatalf("%q, %v after %v", got, err, refused)
		}
	}
	for _, d := range dislikes {
		want := 2
		if d.Kept {
			want = 1
		}
		if refused[d.Field] != want {
			t.Errorf("%s was sent %d times, not %d", d.Field, refused[d.Field], want)
		}
	}
}

// has says whether there is something at a path in a body.
func has(body map[string]any, path string) bool {
	field, rest, deeper := strings.Cut(path, ".")
	v, ok := body[field]
	if !deeper || !ok {
		return ok
	}
	in, ok := v.(map[string]any)
	return ok && has(in, rest)
}
