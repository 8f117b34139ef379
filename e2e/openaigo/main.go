// Command openaigo checks a server with the unmodified OpenAI SDK for Go. The
// model behind the server must be scripted as openai-go.test.mjs does it.
//
// It prints what is wrong to stderr, a line for each check that fails, and then
// exits with 1.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/conversations"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/responses"
	"github.com/openai/openai-go/v3/shared"
)

const greeting = "Good morning from the model."

// checks in order; each stands alone.
var checks = []struct {
	name string
	run  func(context.Context, openai.Client) error
}{
	{"response", response},
	{"response stream", responseStream},
	{"function tool", functionTool},
	{"function tool in a stream", functionToolStream},
	{"structured output", structured},
	{"previous response", previousResponse},
	{"conversation", conversation},
	{"conversation items", conversationItems},
	{"retrieve", retrieve},
	{"retrieve as a stream", retrieveStream},
	{"input items", inputItems},
	{"background and cancel", backgroundCancel},
	{"delete", deleteResponse},
	{"not stored", notStored},
	{"models", models},
	{"chat completion", chatCompletion},
	{"chat completion stream", chatCompletionStream},
	{"chat completion tool", chatCompletionTool},
	{"errors", failures},
}

func main() {
	base := flag.String("base", "", "URL of the server's API, with /v1")
	key := flag.String("key", "unused", "API key")
	flag.Parse()
	client := openai.NewClient(option.WithBaseURL(*base), option.WithAPIKey(*key), option.WithMaxRetries(0))
	code := 0
	for _, c := range checks {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		if err := c.run(ctx, client); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", c.name, err)
			code = 1
		}
		cancel()
	}
	os.Exit(code)
}

// same fails unless both print alike.
func same(what string, got, want any) error {
	if g, w := fmt.Sprintf("%q", got), fmt.Sprintf("%q", want); g != w {
		return fmt.Errorf("%s is %s, want %s", what, g, w)
	}
	return nil
}

// all is the first error.
func all(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func text(s string) responses.ResponseNewParamsInputUnion {
	return responses.ResponseNewParamsInputUnion{OfString: openai.String(s)}
}

func items(list ...responses.ResponseInputItemUnionParam) responses.ResponseNewParamsInputUnion {
	return responses.ResponseNewParamsInputUnion{OfInputItemList: list}
}

func userSays(s string) responses.ResponseInputItemUnionParam {
	return responses.ResponseInputItemParamOfMessage(s, responses.EasyInputMessageRoleUser)
}

func answers(callID, output string) responses.ResponseInputItemUnionParam {
	item := responses.ResponseInputItemParamOfFunctionCallOutput(output)
	item.OfFunctionCallOutput.CallID = openai.String(callID)
	return item
}

func ask(s string) responses.ResponseNewParams {
	return responses.ResponseNewParams{Model: "anton", Input: text(s)}
}

func response(ctx context.Context, c openai.Client) error {
	params := ask("hello")
	params.Instructions = openai.String("Be kind.")
	params.Metadata = shared.Metadata{"trip": "naxos"}
	params.Temperature = openai.Float(0.5)
	params.Include = []responses.ResponseIncludable{responses.ResponseIncludableReasoningEncryptedContent}
	r, err := c.Responses.New(ctx, params)
	if err != nil {
		return err
	}
	return all(same("text", r.OutputText(), greeting), same("status", r.Status, responses.ResponseStatusCompleted),
		same("metadata", r.Metadata, params.Metadata), same("input tokens", r.Usage.InputTokens, 21))
}

// events reads a stream to its end and holds the order of its numbers.
func events(s interface {
	Next() bool
	Current() responses.ResponseStreamEventUnion
	Err() error
}) (list []responses.ResponseStreamEventUnion, err error) {
	last := int64(-1)
	for s.Next() {
		e := s.Current()
		if e.SequenceNumber <= last {
			return nil, fmt.Errorf("sequence number %d after %d", e.SequenceNumber, last)
		}
		last = e.SequenceNumber
		list = append(list, e)
	}
	if s.Err() == nil && len(list) == 0 {
		return nil, errors.New("no events")
	}
	return list, s.Err()
}

func textOf(list []responses.ResponseStreamEventUnion) string {
	var b strings.Builder
	for _, e := range list {
		if e.Type == "response.output_text.delta" {
			b.WriteString(e.Delta)
		}
	}
	return b.String()
}

func responseStream(ctx context.Context, c openai.Client) error {
	list, err := events(c.Responses.NewStreaming(ctx, ask("hello")))
	if err != nil {
		return err
	}
	end := list[len(list)-1]
	return all(same("first event", list[0].Type, "response.created"), same("last event", end.Type, "response.completed"),
		same("deltas", textOf(list), greeting), same("final text", end.Response.OutputText(), greeting))
}

func weather() []responses.ToolUnionParam {
	return []responses.ToolUnionParam{{OfFunction: &responses.FunctionToolParam{
		Name: "get_weather", Strict: openai.Bool(true), Parameters: map[string]any{
			"type": "object", "properties": map[string]any{"city": map[string]any{"type": "string"}},
			"required": []string{"city"}, "additionalProperties": false,
		},
	}}}
}

// callOf returns the only function call of a response.
func callOf(r *responses.Response) (responses.ResponseFunctionToolCall, error) {
	var calls []responses.ResponseFunctionToolCall
	for _, item := range r.Output {
		if item.Type == "function_call" {
			calls = append(calls, item.AsFunctionCall())
		}
	}
	if len(calls) != 1 {
		return responses.ResponseFunctionToolCall{}, fmt.Errorf("%d function calls in %s", len(calls), r.RawJSON())
	}
	return calls[0], all(same("name", calls[0].Name, "get_weather"), same("arguments", calls[0].Arguments, `{"city":"Naxos"}`))
}

func functionTool(ctx context.Context, c openai.Client) error {
	params := ask("weather?")
	params.Tools = weather()
	first, err := c.Responses.New(ctx, params)
	if err != nil {
		return err
	}
	call, err := callOf(first)
	if err != nil {
		return err
	}
	byID, err := c.Responses.New(ctx, responses.ResponseNewParams{
		Model: "anton", Tools: weather(), PreviousResponseID: openai.String(first.ID), Input: items(answers(call.CallID, "sunny")),
	})
	if err != nil {
		return err
	}
	whole, err := c.Responses.New(ctx, responses.ResponseNewParams{
		Model: "anton", Tools: weather(),
		Input: items(userSays("weather?"), responses.ResponseInputItemParamOfFunctionCall(call.Arguments, call.CallID, call.Name), answers(call.CallID, "sunny")),
	})
	if err != nil {
		return err
	}
	return all(same("answer by id", byID.OutputText(), "Sunny in Naxos."), same("answer to the whole", whole.OutputText(), "Sunny in Naxos."))
}

func functionToolStream(ctx context.Context, c openai.Client) error {
	params := ask("weather?")
	params.Tools = weather()
	list, err := events(c.Responses.NewStreaming(ctx, params))
	if err != nil {
		return err
	}
	arguments := ""
	for _, e := range list {
		if e.Type == "response.function_call_arguments.delta" {
			arguments += e.Delta
		}
	}
	end := list[len(list)-1].Response
	_, err = callOf(&end)
	return all(err, same("argument deltas", arguments, `{"city":"Naxos"}`))
}

func structured(ctx context.Context, c openai.Client) error {
	params := ask("structured")
	params.Text.Format = responses.ResponseFormatTextConfigUnionParam{OfJSONSchema: &responses.ResponseFormatTextJSONSchemaConfigParam{
		Name: "place", Strict: openai.Bool(true), Schema: map[string]any{
			"type": "object", "properties": map[string]any{"city": map[string]any{"type": "string"}},
			"required": []string{"city"}, "additionalProperties": false,
		},
	}}
	r, err := c.Responses.New(ctx, params)
	if err != nil {
		return err
	}
	var place struct{ City string }
	return all(json.Unmarshal([]byte(r.OutputText()), &place), same("city", place.City, "Naxos"), same("format", r.Text.Format.Name, "place"))
}

func previousResponse(ctx context.Context, c openai.Client) error {
	one, err := c.Responses.New(ctx, ask("hello"))
	if err != nil {
		return err
	}
	params := ask("hello again")
	params.PreviousResponseID = openai.String(one.ID)
	two, err := c.Responses.New(ctx, params)
	if err != nil {
		return err
	}
	return all(same("text", two.OutputText(), greeting), same("previous_response_id", two.PreviousResponseID, one.ID))
}

func conversation(ctx context.Context, c openai.Client) error {
	made, err := c.Conversations.New(ctx, conversations.ConversationNewParams{
		Metadata: shared.Metadata{"topic": "ferries"}, Items: []responses.ResponseInputItemUnionParam{userSays("It leaves at 07:30.")},
	})
	if err != nil {
		return err
	}
	if made.CreatedAt < 1e9 {
		return fmt.Errorf("created_at in %s", made.RawJSON())
	}
	params := ask("hello")
	params.Conversation.OfString = openai.String(made.ID)
	byString, err := c.Responses.New(ctx, params)
	if err != nil {
		return err
	}
	params.Conversation = responses.ResponseNewParamsConversationUnion{OfConversationObject: &responses.ResponseConversationParam{ID: made.ID}}
	byObject, err := c.Responses.New(ctx, params)
	if err != nil {
		return err
	}
	updated, err := c.Conversations.Update(ctx, made.ID, conversations.ConversationUpdateParams{Metadata: shared.Metadata{"topic": "tents"}})
	if err != nil {
		return err
	}
	got, err := c.Conversations.Get(ctx, made.ID)
	if err != nil {
		return err
	}
	gone, err := c.Conversations.Delete(ctx, made.ID)
	if err != nil {
		return err
	}
	_, err = c.Conversations.Get(ctx, made.ID)
	return all(same("conversation", byString.Conversation.ID, made.ID), same("conversation", byObject.Conversation.ID, made.ID),
		same("metadata", updated.Metadata, map[string]any{"topic": "tents"}), same("metadata", got.Metadata, updated.Metadata),
		same("deleted", gone.Deleted, true), status(err, 404))
}

func conversationItems(ctx context.Context, c openai.Client) error {
	made, err := c.Conversations.New(ctx, conversations.ConversationNewParams{})
	if err != nil {
		return err
	}
	added, err := c.Conversations.Items.New(ctx, made.ID, conversations.ItemNewParams{
		Items: []responses.ResponseInputItemUnionParam{userSays("a"), userSays("b"), userSays("c")},
	})
	if err != nil {
		return err
	}
	if err := same("items added", len(added.Data), 3); err != nil {
		return err
	}
	one, err := c.Conversations.Items.Get(ctx, made.ID, added.Data[1].ID, conversations.ItemGetParams{})
	if err != nil {
		return err
	}
	if _, err := c.Conversations.Items.Delete(ctx, made.ID, added.Data[0].ID); err != nil {
		return err
	}
	said := ""
	pages := c.Conversations.Items.ListAutoPaging(ctx, made.ID, conversations.ItemListParams{Limit: openai.Int(1), Order: "asc"})
	for pages.Next() {
		said += pages.Current().AsMessage().Content[0].Text
	}
	return all(pages.Err(), same("items", said, "bc"), same("item", one.AsMessage().Content[0].Text, "b"))
}

func retrieve(ctx context.Context, c openai.Client) error {
	made, err := c.Responses.New(ctx, ask("hello"))
	if err != nil {
		return err
	}
	got, err := c.Responses.Get(ctx, made.ID, responses.ResponseGetParams{Include: []responses.ResponseIncludable{responses.ResponseIncludableReasoningEncryptedContent}})
	if err != nil {
		return err
	}
	return all(same("text", got.OutputText(), greeting), same("id", got.ID, made.ID))
}

func retrieveStream(ctx context.Context, c openai.Client) error {
	live, err := events(c.Responses.NewStreaming(ctx, ask("hello")))
	if err != nil {
		return err
	}
	id, from := live[0].Response.ID, live[len(live)/2].SequenceNumber
	whole, err := events(c.Responses.GetStreaming(ctx, id, responses.ResponseGetParams{}))
	if err != nil {
		return err
	}
	later, err := events(c.Responses.GetStreaming(ctx, id, responses.ResponseGetParams{StartingAfter: openai.Int(from)}))
	if err != nil {
		return err
	}
	return all(same("events", len(whole), len(live)), same("text", textOf(whole), greeting),
		same("events after the middle", len(later), len(live)-len(live)/2-1), same("first of them", later[0].RawJSON(), live[len(live)/2+1].RawJSON()))
}

func inputItems(ctx context.Context, c openai.Client) error {
	made, err := c.Responses.New(ctx, responses.ResponseNewParams{Model: "anton", Input: items(userSays("a"), userSays("b"), userSays("hello"))})
	if err != nil {
		return err
	}
	said := ""
	pages := c.Responses.InputItems.ListAutoPaging(ctx, made.ID, responses.InputItemListParams{Limit: openai.Int(2), Order: "asc"})
	for pages.Next() {
		said += pages.Current().AsMessage().Content[0].Text + " "
	}
	return all(pages.Err(), same("input items", said, "a b hello "))
}

func backgroundCancel(ctx context.Context, c openai.Client) error {
	params := ask("take your time")
	params.Background = openai.Bool(true)
	begun, err := c.Responses.New(ctx, params)
	if err != nil {
		return err
	}
	cancelled, err := c.Responses.Cancel(ctx, begun.ID)
	if err != nil {
		return err
	}
	got, err := c.Responses.Get(ctx, begun.ID, responses.ResponseGetParams{})
	if err != nil {
		return err
	}
	if begun.Status != "queued" && begun.Status != "in_progress" {
		return fmt.Errorf("begins %s", begun.Status)
	}
	return all(same("status", cancelled.Status, "cancelled"), same("stored status", got.Status, "cancelled"))
}

func deleteResponse(ctx context.Context, c openai.Client) error {
	made, err := c.Responses.New(ctx, ask("hello"))
	if err != nil {
		return err
	}
	if err := c.Responses.Delete(ctx, made.ID); err != nil {
		return err
	}
	_, err = c.Responses.Get(ctx, made.ID, responses.ResponseGetParams{})
	return status(err, 404)
}

func notStored(ctx context.Context, c openai.Client) error {
	params := ask("hello")
	params.Store = openai.Bool(false)
	made, err := c.Responses.New(ctx, params)
	if err != nil {
		return err
	}
	_, err = c.Responses.Get(ctx, made.ID, responses.ResponseGetParams{})
	return all(same("text", made.OutputText(), greeting), status(err, 404))
}

func models(ctx context.Context, c openai.Client) error {
	seen := map[string]bool{}
	pages := c.Models.ListAutoPaging(ctx)
	for pages.Next() {
		seen[pages.Current().ID] = true
	}
	if pages.Err() != nil || !seen["anton"] {
		return fmt.Errorf("models %v: %w", seen, pages.Err())
	}
	one, err := c.Models.Get(ctx, "anton")
	if err != nil {
		return err
	}
	_, err = c.Models.Get(ctx, "no-such-model")
	return all(same("id", one.ID, "anton"), status(err, 404))
}

func chat(messages ...openai.ChatCompletionMessageParamUnion) openai.ChatCompletionNewParams {
	return openai.ChatCompletionNewParams{Model: "anton", Messages: messages}
}

func chatCompletion(ctx context.Context, c openai.Client) error {
	r, err := c.Chat.Completions.New(ctx, chat(openai.SystemMessage("Be kind."), openai.UserMessage("hello")))
	if err != nil {
		return err
	}
	return all(same("choices", len(r.Choices), 1), same("text", r.Choices[0].Message.Content, greeting),
		same("finish", r.Choices[0].FinishReason, "stop"), same("tokens", r.Usage.PromptTokens, 21))
}

func chatCompletionStream(ctx context.Context, c openai.Client) error {
	params := chat(openai.UserMessage("hello"))
	params.StreamOptions.IncludeUsage = openai.Bool(true)
	s := c.Chat.Completions.NewStreaming(ctx, params)
	var whole openai.ChatCompletionAccumulator
	for s.Next() {
		if !whole.AddChunk(s.Current()) {
			return fmt.Errorf("chunk does not fit: %s", s.Current().RawJSON())
		}
	}
	if s.Err() != nil {
		return s.Err()
	}
	return all(same("choices", len(whole.Choices), 1), same("text", whole.Choices[0].Message.Content, greeting),
		same("finish", whole.Choices[0].FinishReason, "stop"), same("tokens", whole.Usage.PromptTokens, 21))
}

func chatCompletionTool(ctx context.Context, c openai.Client) error {
	params := chat(openai.UserMessage("weather?"))
	params.Tools = []openai.ChatCompletionToolUnionParam{openai.ChatCompletionFunctionTool(shared.FunctionDefinitionParam{
		Name: "get_weather", Parameters: shared.FunctionParameters{"type": "object", "properties": map[string]any{"city": map[string]any{"type": "string"}}},
	})}
	first, err := c.Chat.Completions.New(ctx, params)
	if err != nil {
		return err
	}
	message := first.Choices[0].Message
	if len(message.ToolCalls) != 1 {
		return fmt.Errorf("no tool call in %s", first.RawJSON())
	}
	params.Messages = append(params.Messages, message.ToParam(), openai.ToolMessage("sunny", message.ToolCalls[0].ID))
	second, err := c.Chat.Completions.New(ctx, params)
	if err != nil {
		return err
	}
	return all(same("finish", first.Choices[0].FinishReason, "tool_calls"), same("arguments", message.ToolCalls[0].Function.Arguments, `{"city":"Naxos"}`),
		same("text", second.Choices[0].Message.Content, "Sunny in Naxos."))
}

// status fails unless err is the SDK's, of that HTTP status, and says why.
func status(err error, want int) error {
	var e *openai.Error
	if !errors.As(err, &e) || e.StatusCode != want || e.Message == "" || e.Type == "" {
		return fmt.Errorf("got %v, want an error with status %d, message and type", err, want)
	}
	return nil
}

func failures(ctx context.Context, c openai.Client) error {
	_, missing := c.Responses.Get(ctx, "resp_x", responses.ResponseGetParams{})
	both := ask("hello")
	both.PreviousResponseID, both.Conversation.OfString = openai.String("resp_x"), openai.String("trip")
	_, ambiguous := c.Responses.New(ctx, both)
	_, limited := c.Responses.New(ctx, ask("limited"))
	list, err := events(c.Responses.NewStreaming(ctx, ask("limited")))
	if err != nil {
		return err
	}
	end := list[len(list)-1]
	return all(status(missing, 404), status(ambiguous, 400), status(limited, 429),
		same("last event", end.Type, "response.failed"), same("code", end.Response.Error.Code, "rate_limited"))
}
