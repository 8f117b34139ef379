package agent

import (
	"cmp"
	"errors"
	"regexp"
	"strings"
	"time"
)

// Codes of an Error. They are part of the API: clients branch on them.
const (
	CodeAuth          = "provider_auth"       // the key is missing or refused
	CodeTokenLimit    = "token_limit"         // credit or quota is used up
	CodeModelAccess   = "model_access_denied" // the key may not use this model
	CodeUnknownModel  = "unknown_model"
	CodeOverloaded    = "provider_overloaded"
	CodeRateLimited   = "rate_limited"
	CodeUnreachable   = "provider_unreachable" // no connection, a broken server, or nothing of the kind at this address
	CodeTimeout       = "provider_timeout"
	CodeContext       = "context_overflow"   // the conversation is longer than the model takes
	CodeImage         = "image_format"       // the provider cannot read an image or a document
	CodeUnsupported   = "unsupported_input"  // the model takes no image, no document, no tools, or no such format
	CodeInvalid       = "provider_rejected"  // the provider refuses the request for another reason
	CodePolicy        = "policy_unavailable" // billing or policy of the account is out of order
	CodeUnexpected    = "anton_error"        // everything else
	fallbackModelName = "the chosen model"
)

// messages are all that people get to see of a failure. %model% is filled in.
var messages = map[string]string{
	CodeAuth:         "The model provider refused the API key. Check it in the settings.",
	CodeTokenLimit:   "The account at the model provider has no credit or quota left.",
	CodeModelAccess:  "The API key may not use %model%. Choose another model, or ask the provider for access.",
	CodeUnknownModel: "The model provider does not know %model%. Choose another model in the settings.",
	CodeOverloaded:   "The model provider is overloaded. Try again in a moment.",
	CodeRateLimited:  "The model provider limits the rate of requests. Try again in a moment.",
	CodeUnreachable:  "The model provider cannot be reached or does not work at the moment. Check its base URL in the settings, then try again.",
	CodeTimeout:      "The model provider did not answer in time. Try again.",
	CodeContext:      "This conversation is longer than the model can take. Start a new one, or choose a model with a larger context.",
	CodeImage:        "The model provider could not read an image or document of this message. Send PNG, JPEG, GIF, WebP or PDF.",
	CodeUnsupported:  "What this message holds or asks for (an image, a document, tools, an output format) is more than %model% can take. Choose another model.",
	CodeInvalid:      "The model provider refused the request. Choose another model, or change the parameters of the request.",
	CodePolicy:       "The account at the model provider is not in order. Look at its billing page.",
	CodeUnexpected:   "An unexpected error occurred",
}

// Error is a failed call of a provider. Error and Message are safe to show;
// the cause, reached with Unwrap, is for logs only.
type Error struct {
	Code       string
	Message    string        // curated; holds nothing that the provider wrote
	Status     int           // HTTP status of the answer, 0 if there was none
	RetryAfter time.Duration // how long the provider asked to wait, 0 if it did not
	Model      string        // the model that was asked for, if that is the matter
	cause      error
}

// NewError completes e: an empty Code is CodeUnexpected, an empty Message
// the one of its code. Secrets, such as the API key, are taken out of the
// cause's text; its chain stays open to errors.Is but not to errors.As, which
// would lead to the text as it was.
func NewError(e Error, cause error, secrets ...string) *Error {
	e.Code = cmp.Or(e.Code, CodeUnexpected)
	if e.Message == "" {
		model := fallbackModelName
		if e.Model != "" {
			model = "the model " + e.Model
		}
		e.Message = strings.ReplaceAll(cmp.Or(messages[e.Code], messages[CodeUnexpected]), "%model%", model)
	}
	if cause != nil {
		e.cause = scrubbed{text: scrub(cause.Error(), secrets), err: cause}
	}
	return &e
}

func (e *Error) Error() string { return e.Code + ": " + e.Message }

// Unwrap is what happened in technical terms, without secrets. Never show it.
func (e *Error) Unwrap() error { return e.cause }

// Temporary says whether the same call may well succeed a little later.
func (e *Error) Temporary() bool {
	switch e.Code {
	case CodeOverloaded, CodeRateLimited, CodeTimeout:
		return true
	case CodeUnreachable:
		return e.Status == 0 || e.Status >= 500
	}
	return false
}

type scrubbed struct {
	text string
	err  error
}

func (s scrubbed) Error() string        { return s.text }
func (s scrubbed) Is(target error) bool { return errors.Is(s.err, target) }

// keyShaped finds keys that are not ours to know, such as one that the provider
// quotes half hidden.
var keyShaped = regexp.MustCompile(`\b(sk|mdb)[-_][A-Za-z0-9_*.-]{6,}|\bAIza[A-Za-z0-9_-]{20,}|(?i:bearer )[^\s"']+`)

func scrub(text string, secrets []string) string {
	for _, s := range secrets {
		if s != "" {
			text = strings.ReplaceAll(text, s, "[redacted]")
		}
	}
	return keyShaped.ReplaceAllString(text, "[redacted]")
}

// asError makes every failure of a provider an *Error.
func asError(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return NewError(Error{}, err)
}
