package mcp

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// nameLongest is what providers take as the name of a tool.
const nameLongest = 64

// of is a tool of a server.
type of struct{ server, tool string }

// namesOf are the names that models know the tools of servers by. Most are
// mcp__server__tool; those that would be too long, or the same, end with a hash.
// They do not hang on which tools are allowed.
func namesOf(servers []*server) map[of]string {
	times := map[string]int{}
	var all []of
	for _, s := range servers {
		for _, t := range s.known() {
			all = append(all, of{s.entry.name, t.name})
			times[bare(s.entry.name, t.name)]++
		}
	}
	out := make(map[of]string, len(all))
	for _, o := range all {
		name := bare(o.server, o.tool)
		if len(name) > nameLongest || times[name] > 1 {
			sum := sha256.Sum256([]byte(o.server + "\x00" + o.tool))
			end := "_" + hex.EncodeToString(sum[:4])
			name = name[:min(len(name), nameLongest-len(end))] + end
		}
		out[o] = name
	}
	return out
}

func bare(server, tool string) string { return "mcp__" + clean(server) + "__" + clean(tool) }

// clean is a text of the characters that names of tools may have.
func clean(s string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '-':
			return c
		}
		return '_'
	}, s)
}
