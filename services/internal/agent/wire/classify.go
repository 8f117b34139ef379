package wire

import (
	"fmt"
	"net/http"

	"anthill/services/internal/agent"
)

// meanings say what a failure is by the words it comes with. The first that fits
// decides, so what is particular stands before what is general. Statuses alone
// say too little: most servers answer 400, or 429, for half of these.
var meanings = []struct {
	code  string
	words []string
}{
	{agent.CodeTokenLimit, []string{"insufficient_quota", "billing_hard_limit", "credit balance", "insufficient credit",
		"insufficient balance", "out of credits", "requires more credits"}},
	{agent.CodePolicy, []string{"billing_error", "billing_not_active", "not active, please check your billing", "enable billing",
		"billing to be enabled", "account_deactivated", "account has been deactivated", "account is deactivated", "access_terminated",
		"organization has been disabled", "account has been disabled", "account has been suspended", "account is suspended",
		"unsupported_country", "country, region, or territory", "location is not supported", "not available in your country"}},
	{agent.CodeContext, []string{"context_length_exceeded", "context length", "context window", "context size", "context limit",
		"model_context_window", "prompt is too long", "input is too long", "prompt too long", "maximum prompt length",
		"maximum number of tokens allowed", "reduce the length of the messages", "request_too_large", "request too large",
		"string_above_max_length", "greater than the context", "exceed_context"}},
	{agent.CodeAuth, []string{"invalid_api_key", "incorrect api key", "invalid api key", "api_key_invalid", "api key not valid",
		"api key expired", "reported as leaked", "invalid x-api-key", "authentication_error", "invalid_authentication"}},
	{agent.CodeModelAccess, []string{"permission_error", "organization must be verified", "does not have access to model",
		"do not have access to the model"}},
	{agent.CodeImage, []string{"invalid_image", "image_parse_error", "unsupported_image", "invalid_base64", "image_too_large",
		"image_too_small", "image_file_too_large", "image_file_not_found", "empty_image_file", "failed_to_download_image",
		"image_content_policy_violation", "could not process image", "unable to process input image", "unable to process image",
		"unsupported image", "invalid image", "image format", "image exceeds", "image dimensions", "source.base64", "source.media_type",
		"media_type", "could not process pdf", "pdf specified", "pdf pages", "unsupported mime", "invalid mime", "download image",
		"downloading image", "failed to decode image", "cannot identify image", "failed to load image"}},
	{agent.CodeInvalid, []string{"invalid schema", "invalid_json_schema", "invalid_function_parameters"}},
	{agent.CodeUnsupported, []string{"does not support image", "not support images", "does not support vision", "does not support file",
		"does not support document", "does not support pdf", "does not support tools", "does not support function",
		"does not support tool", "tools are not supported", "tools is not supported", "tool use is not supported",
		"function calling is not", "tool choice requires", "only supported by certain models", "image input is not supported",
		"image inputs are not supported", "image input modality", "images are not supported", "support image input", "missing data required for image",
		"not a multimodal model", "'response_format'", "response_format", "output_format", "structured output", "text.format",
		"invalid content type", "unsupported content"}},
}

// classify says what a failure is to people. api names what was expected at the
// address.
func (f *Failure) classify(api string) agent.Error {
	e := agent.Error{Status: f.Status, RetryAfter: f.RetryAfter}
	if e.Code = f.meaning(); e.Code == agent.CodeUnreachable && f.nowhere() {
		e.Message = fmt.Sprintf("Nothing at the model provider's address answers %s. Check its base URL in the settings.", api)
		if e.Status < 300 {
			e.Status = http.StatusNotFound // some servers answer 200 all the same
		}
	}
	return e
}

// nowhere says that the address has nothing of the kind.
func (f *Failure) nowhere() bool {
	return f.Status == http.StatusNotFound || f.Status == http.StatusMethodNotAllowed || f.Status >= 300 && f.Status < 400 ||
		f.Says("unexpected endpoint", "unknown_url", "unknown request url")
}

func (f *Failure) meaning() string {
	s, says := f.Status, f.Says
	switch {
	case s == http.StatusTooManyRequests && f.RetryAfter > 0 && says("resource_exhausted") && !says("perday"):
		return agent.CodeRateLimited // worded as a quota that is used up, but of a minute
	case says("exceeded your current quota"):
		return agent.CodeTokenLimit
	}
	for _, m := range meanings {
		if says(m.words...) && !(s >= 500 && m.code != agent.CodeUnsupported && m.code != agent.CodeContext) {
			return m.code
		}
	}
	switch {
	case s == http.StatusPaymentRequired:
		return agent.CodeTokenLimit
	case s == http.StatusRequestEntityTooLarge:
		return agent.CodeContext
	case s == http.StatusUnauthorized:
		return agent.CodeAuth
	case s == http.StatusForbidden || says("permission_denied"):
		return agent.CodeModelAccess
	case says("model_not_found", "unknown model", "invalid model", "deploymentnotfound", "no models loaded"),
		s == 404 && says("model"),
		s == 400 && says("model") && says("not found", "does not exist", "not exist", "not a valid"),
		s == 0 && says("not_found_error"):
		return agent.CodeUnknownModel
	case f.nowhere():
		return agent.CodeUnreachable
	case s == http.StatusRequestTimeout || s == http.StatusGatewayTimeout || says("timeout_error"):
		return agent.CodeTimeout
	case s == http.StatusTooManyRequests || says("rate_limit", "too many requests"):
		return agent.CodeRateLimited
	case s == http.StatusServiceUnavailable || s == 529 || says("overloaded", "over capacity"):
		return agent.CodeOverloaded
	case s >= 500 || s == 0 && says("server_error", "api_error", "internal"):
		return agent.CodeUnreachable
	case s == http.StatusBadRequest || s == http.StatusUnprocessableEntity || s == 0 && says("invalid_request", "invalid_prompt"):
		return agent.CodeInvalid
	}
	return agent.CodeUnexpected
}
