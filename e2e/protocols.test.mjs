// The same conversations held with three kinds of providers are the same
// conversations: whoever reads /messages cannot tell which protocol it was.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { png, protocols, serveWithModel } from './provider.mjs';

const usage = { prompt_tokens: 21, completion_tokens: 4, total_tokens: 25 };

const conversations = {
  'text, two turns': async ({ ai, mock, conversation }) => {
    mock.onMessage('first', { content: 'Größe 日本, the first answer.', usage }, { chunkSize: 3 });
    mock.onMessage('second', { content: 'The second answer.', usage });
    await ai.responses.create({ model: 'anton', input: 'first', conversation });
    await ai.responses.stream({ model: 'anton', input: 'second', conversation }).finalResponse();
  },
  'a tool of the server': async ({ ai, mock, url, conversation }) => {
    mock.on({ userMessage: 'ferry', hasToolResult: false }, {
      content: 'I look it up.', toolCalls: [{ id: 'call_f', name: 'read_file', arguments: '{"path":"notes.md"}' }], usage,
    });
    mock.on({ userMessage: 'ferry', hasToolResult: true }, { content: 'At 07:30.', usage });
    const put = await fetch(`${url}/v1/projects/general/files/notes.md`, {
      method: 'PUT', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ content: 'The ferry leaves at 07:30.' }),
    });
    assert.equal(put.status, 200);
    await ai.responses.create({ model: 'anton', input: 'When does the ferry leave?', conversation });
  },
  'functions of the client': async ({ ai, mock, conversation }) => {
    mock.on({ userMessage: 'time', hasToolResult: false }, {
      toolCalls: [{ id: 'call_1', name: 'clock', arguments: '{"zone":"UTC"}' }, { id: 'call_2', name: 'clock', arguments: '{"zone":"CET"}' }], usage,
    });
    mock.on({ userMessage: 'time', hasToolResult: true }, { content: 'Noon, and one hour later.', usage });
    const tools = [{ type: 'function', name: 'clock', strict: false, parameters: { type: 'object', properties: { zone: { type: 'string' } } } }];
    const first = await ai.responses.create({ model: 'anton', input: 'time?', conversation, tools });
    const calls = first.output.filter((item) => item.type === 'function_call');
    await ai.responses.create({
      model: 'anton', conversation, tools, input: calls.map((c) => ({ type: 'function_call_output', call_id: c.call_id, output: `12:00 for ${c.call_id}` })),
    });
  },
  'reasoning about an image': async ({ ai, mock, conversation }) => {
    mock.onMessage('look', { content: 'A red dot.', reasoning: 'It is small and red.', usage }, { chunkSize: 6 });
    await ai.responses.create({
      model: 'anton', conversation,
      input: [{ role: 'user', content: [{ type: 'input_text', text: 'look' }, { type: 'input_image', image_url: png, detail: 'auto' }] }],
    });
  },
};

// What may differ between two runs, and nothing else: when things happened, the
// random part of ids, and into how many pieces a text was cut on its way (with
// the sequence numbers that follow from it).
const times = ['at_ms', 'created_at', 'completed_at', 'startedAt'];

function comparable(messages) {
  let all = JSON.stringify(messages, (name, value) => (times.includes(name) && value !== null ? 'a time' : value));
  [...new Set(messages.map((m) => m.turn_id))].forEach((id, i) => { all = all.replaceAll(id.replace('turn_', ''), `turn-${i}`); });
  return JSON.parse(all).map(({ events, ...message }) => ({ ...message, events: events && joined(events) }));
}

function joined(events) {
  const out = [];
  for (const { sequence_number, ...event } of events) {
    assert.ok(Number.isInteger(sequence_number));
    const last = out.at(-1);
    if (event.type.endsWith('.delta') && last?.type === event.type && last.item_id === event.item_id) last.delta += event.delta;
    else out.push(event);
  }
  return out;
}

for (const [name, hold] of Object.entries(conversations)) {
  test(`the same /messages through every protocol: ${name}`, async (t) => {
    const seen = {};
    for (const [protocol, path] of Object.entries(protocols)) {
      const server = await serveWithModel(t, protocol);
      await hold({ ...server, conversation: 'trip' });
      assert.deepEqual([...new Set(server.requests.map((r) => r.path))], [path], 'the model is asked in its protocol');
      const { messages } = await (await fetch(`${server.url}/v1/conversations/trip/messages`)).json();
      assert.ok(messages.length >= 2 && messages.at(-1).status === 'completed', JSON.stringify(messages.at(-1)));
      seen[protocol] = comparable(messages);
    }
    assert.deepEqual(seen.openai, seen['openai-compatible'], 'OpenAI Responses and chat completions');
    assert.deepEqual(seen.anthropic, seen['openai-compatible'], 'Anthropic and chat completions');
  });
}
