package sessions

import (
	"encoding/json"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/structpb"

	"anthill/services/internal/fault"
)

// Limits of what callers give.
const (
	nameMax      = 200 // characters
	workspaceMax = 200 // bytes
	rootMax      = 4096
	statusMax    = 64 // characters
	metaMax      = 64 << 10
	handleMax    = 64 // characters, without the @
	slugMax      = 32 // of a handle that is made of a name
	orderMax     = 5000
	defaultTTL   = "15m"
	noMeta       = "{}"
)

func checkName(name string) (string, error) {
	name = strings.TrimSpace(name)
	switch {
	case name == "":
		return "", fault.New(fault.Invalid, "NAME_REQUIRED", "Session name is required")
	case utf8.RuneCountInString(name) > nameMax:
		return "", invalid("name", "must have 200 characters at most")
	case strings.ContainsFunc(name, unicode.IsControl):
		return "", invalid("name", "must not contain control characters")
	}
	return name, nil
}

func checkType(typ string) error {
	switch typ {
	case Terminal, Chat, Agent:
		return nil
	}
	return invalid("type", "must be terminal, chat or agent")
}

var ttls = regexp.MustCompile(`^(forever|[1-9][0-9]{0,5}[smhd])$`)

func checkTTL(ttl string) error {
	if !ttls.MatchString(ttl) {
		return invalid("ttl", "must be forever, or a number with s, m, h or d behind it, such as 15m")
	}
	return nil
}

func checkStatus(status string) error {
	if status == "" || utf8.RuneCountInString(status) > statusMax || strings.ContainsFunc(status, unicode.IsControl) {
		return invalid("status", "must have 1 to 64 characters, none of them a control character")
	}
	return nil
}

func checkText(field, text string, most int) error {
	if len(text) > most || strings.ContainsFunc(text, unicode.IsControl) {
		return invalid(field, "is too long, or contains control characters")
	}
	return nil
}

var handles = regexp.MustCompile(`^[\pL\pN_.-]{1,64}$`)

// checkHandle returns a handle with its @; empty for null.
func checkHandle(v *structpb.Value) (string, error) {
	text, given, err := textOf("handle", v)
	if err != nil || !given || text == "" {
		return "", err
	}
	bare := strings.TrimPrefix(text, "@")
	if !handles.MatchString(bare) {
		return "", invalid("handle", `must have 1 to 64 letters, digits and any of "._-"`)
	}
	if fold(bare) == "everyone" {
		return "", invalid("handle", "must not be @everyone: that means all participants of a room")
	}
	return "@" + bare, nil
}

// checkMeta takes an object, or its JSON as a text; null is an empty one.
func checkMeta(v *structpb.Value) (string, error) {
	var text string
	switch k := v.GetKind().(type) {
	case nil, *structpb.Value_NullValue:
		return noMeta, nil
	case *structpb.Value_StructValue:
		b, err := json.Marshal(k.StructValue.AsMap())
		if err != nil {
			return "", invalid("meta", "must be a JSON object")
		}
		text = string(b)
	case *structpb.Value_StringValue:
		var object map[string]json.RawMessage
		if json.Unmarshal([]byte(k.StringValue), &object) != nil || object == nil {
			return "", invalid("meta", "must be a JSON object, or the text of one")
		}
		text = k.StringValue
	default:
		return "", invalid("meta", "must be a JSON object, or the text of one")
	}
	if len(text) > metaMax {
		return "", invalid("meta", "must have 64 KiB at most")
	}
	return text, nil
}

// textOf reads a text that may be null or absent; given is false for both.
func textOf(field string, v *structpb.Value) (text string, given bool, err error) {
	switch k := v.GetKind().(type) {
	case nil, *structpb.Value_NullValue:
		return "", false, nil
	case *structpb.Value_StringValue:
		return k.StringValue, true, nil
	}
	return "", false, invalid(field, "must be a text, or null")
}

// flagOf reads a flag in the forms that clients send it in (ant.md 1.1).
func flagOf(field string, v *structpb.Value) (bool, error) {
	switch k := v.GetKind().(type) {
	case *structpb.Value_BoolValue:
		return k.BoolValue, nil
	case *structpb.Value_NumberValue:
		if k.NumberValue == 0 || k.NumberValue == 1 {
			return k.NumberValue == 1, nil
		}
	case *structpb.Value_StringValue:
		switch strings.ToLower(k.StringValue) {
		case "1", "true", "yes", "on":
			return true, nil
		case "0", "false", "no", "off":
			return false, nil
		}
	}
	return false, invalid(field, "must be true or false")
}

func invalid(field, message string) error {
	return fault.BadField("value_error", field+" "+message, field)
}
