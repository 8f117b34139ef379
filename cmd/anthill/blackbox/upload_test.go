package blackbox

import (
	"net/http"
	"strings"
	"testing"
)

// A form that is cut off is not one: nothing of it is stored as if it were whole.
func TestUploadCutOff(t *testing.T) {
	t.Parallel()
	s := start(t)
	const whole = "--x\r\nContent-Disposition: form-data; name=\"files\"; filename=\"cut.txt\"\r\n\r\nall of it\r\n--x--\r\n"
	form := headers("Content-Type", "multipart/form-data; boundary=x")
	for n := strings.Index(whole, "all") - 4; n < len(whole)-len("--\r\n"); n++ {
		a := s.do(http.MethodPost, "/v1/projects/general/files/upload", whole[:n], form)
		if a.status == http.StatusOK && strings.Contains(string(a.body), `"ok":true`) {
			t.Errorf("cut after %d of %d bytes: %v", n, len(whole), a)
		}
		if a := s.get("/v1/projects/general/files/cut.txt"); a.status != http.StatusNotFound {
			t.Fatalf("cut after %d of %d bytes: %v is stored", n, len(whole), a)
		}
	}
	s.do(http.MethodPost, "/v1/projects/general/files/upload", whole, form).ok()
	if got := s.get("/v1/projects/general/files/cut.txt").ok()["content"]; got != "all of it" {
		t.Errorf("content %q", got)
	}
}
