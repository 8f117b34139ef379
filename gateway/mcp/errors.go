package mcp

import (
	"context"
	"errors"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// nextByReason says what to do about what went wrong.
var nextByReason = map[string]string{
	"SESSION_NOT_FOUND":      "list_rooms shows the rooms",
	"TASK_NOT_FOUND":         "list_tasks shows the tasks of a room",
	"TASK_AMBIGUOUS":         "give more of the id",
	"TASK_CLAIMED":           "choose another task, or wait until the lease runs out",
	"MESSAGE_NOT_FOUND":      "read_messages shows the ids of messages",
	"CONVERSATION_NOT_FOUND": "list_conversations shows the conversations",
	"ITEM_NOT_FOUND":         "read_conversation without before shows the newest items",
	"PROJECT_NOT_FOUND":      "leave project out for the active one",
	"WRONG_ROOM":             "leave room out: the token is for one room",
	"READ_ONLY_TOKEN":        "ask who invited you for a token that may write",
	"ADMIN_ONLY":             "that is beyond a room token",
	"DISK_FULL":              "nothing was kept; the disk of the server is full",
}

// nextByCode does, where no reason does.
var nextByCode = map[codes.Code]string{
	codes.Unauthenticated: "show a key or token that holds",
	codes.Unavailable:     "try again in a moment",
}

// explain is the error of a call in words for a model.
func explain(err error) error {
	st, ok := status.FromError(err)
	if !ok {
		if errors.Is(err, context.Canceled) {
			return errors.New("the call was cancelled")
		}
		return err // of this package's own
	}
	text, next := strings.TrimSuffix(st.Message(), "."), nextByCode[st.Code()]
	for _, d := range st.Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			if n := nextByReason[d.Reason]; n != "" {
				next = n
			}
		case *errdetails.BadRequest:
			text = violations(d)
		}
	}
	if st.Code() == codes.Canceled {
		return errors.New("the call was cancelled")
	}
	if next != "" {
		text += ": " + next
	}
	return errors.New(text)
}

// violations are the wrong fields of a request as one sentence.
func violations(bad *errdetails.BadRequest) string {
	var parts []string
	for _, v := range bad.FieldViolations {
		part := v.Description
		if !strings.HasPrefix(part, v.Field) {
			part = v.Field + ": " + part
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, "; ")
}
