package anton

import (
	"maps"
	"net/http"
	"strings"

	"google.golang.org/grpc/metadata"

	"anthill/gateway/edge"
	antonv1 "anthill/gen/anton/v1"
)

// bearsSecrets says whether the answer of a path can hold a key, masked or not.
func bearsSecrets(path string) bool {
	return path == "/v1/settings" || strings.HasPrefix(path, "/v1/settings/")
}

// keepSecret keeps such answers, and launch codes, out of caches.
func keepSecret(h http.Header, path string) {
	if bearsSecrets(path) || strings.HasPrefix(path, "/v1/access/") {
		h.Set("Cache-Control", "no-store")
	}
}

// callerMetadata is what a generated route tells of its caller. The settings
// want to know where a request comes from, and by which name of this server:
// what is decided by it is theirs.
func callerMetadata(r *http.Request) metadata.MD {
	md := edge.Credentials(r)
	if !bearsSecrets(r.URL.Path) {
		return md
	}
	if md == nil {
		md = metadata.MD{}
	}
	x := edge.ExternalOf(r.Context())
	md.Set("x-client-host", x.Host)
	if x.Client.IsValid() {
		md.Set("x-client-address", x.Client.String())
	}
	return md
}

// viewRawSettings is one object of names and values, as the desktop app reads
// it, with the whole file beside them (anton.md 6 and 10).
func viewRawSettings(m *antonv1.RawSettings) map[string]string {
	v := map[string]string{"content": m.Content}
	maps.Copy(v, m.Values)
	return v
}
