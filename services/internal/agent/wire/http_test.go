package wire

import (
	"strings"
	"testing"
)

func TestBaseURL(t *testing.T) {
	for in, want := range map[string]string{
		"https://api.openai.com/v1":                               "https://api.openai.com/v1",
		"http://127.0.0.1:11434":                                  "http://127.0.0.1:11434/v1",
		"http://127.0.0.1:11434/":                                 "http://127.0.0.1:11434/v1",
		" http://h/v1/ ":                                          "http://h/v1",
		"http://h/v1/responses":                                   "http://h/v1",
		"https://h/anthropic/v1/messages/":                        "https://h/anthropic/v1",
		"http://h/v1/chat/completions":                            "http://h/v1",
		"https://openrouter.ai/api":                               "https://openrouter.ai/api/v1",
		"https://generativelanguage.googleapis.com/v1beta/openai": "https://generativelanguage.googleapis.com/v1beta/openai",
		"https://open.bigmodel.cn/api/paas/v4":                    "https://open.bigmodel.cn/api/paas/v4",
		"http://h/vllm":                                           "http://h/vllm/v1",
	} {
		if u, err := baseURL(in); err != nil || u.String() != want {
			t.Errorf("%q: %v, %v", in, u, err)
		}
	}
	for _, in := range []string{"", "localhost:80", "ftp://h", "http://", "http://u:secret@h:bad port"} {
		if _, err := New(Options{BaseURL: in}, API{}); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", in, err)
		}
	}
}
