package blackbox

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// newPackageIndex serves a package index that has one package, anthill_probe, and
// returns its address.
func newPackageIndex(t *testing.T) string {
	t.Helper()
	wheel := probeWheel(t)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		const file = "anthill_probe-1.0-py3-none-any.whl"
		switch r.URL.Path {
		case "/simple/anthill-probe/":
			_, _ = fmt.Fprintf(w, `<html><body><a href="/%s">%s</a></body></html>`, file, file) // the installer tells
		case "/" + file:
			_, _ = w.Write(wheel) // as does this
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(srv.Close)
	return srv.URL + "/simple"
}

func probeWheel(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	var record strings.Builder
	z := zip.NewWriter(&b)
	add := func(name, text string) {
		w, err := z.Create(name)
		if err == nil {
			_, err = io.WriteString(w, text)
		}
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256([]byte(text))
		fmt.Fprintf(&record, "%s,sha256=%s,%d\n", name, base64.RawURLEncoding.EncodeToString(sum[:]), len(text))
	}
	const info = "anthill_probe-1.0.dist-info/"
	add("anthill_probe.py", "def answer():\n    return 42\n")
	add(info+"METADATA", "Metadata-Version: 2.1\nName: anthill_probe\nVersion: 1.0\n")
	add(info+"WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
	add(info+"RECORD", record.String()+info+"RECORD,,\n")
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
