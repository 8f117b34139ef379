// The unmodified OpenAI SDK: /v1/chat/completions and /v1/models.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import OpenAI from 'openai';
import { zodResponseFormat } from 'openai/helpers/zod';
import { z } from 'zod';
import { model, png, serveWithModel, transcript } from './provider.mjs';

const clock = {
  type: 'function',
  function: { name: 'clock', description: 'The time in a zone.', parameters: { type: 'object', properties: { zone: { type: 'string' } }, required: ['zone'] } },
};

function scriptClock(mock) {
  mock.on({ userMessage: 'time', hasToolResult: false }, { toolCalls: [{ id: 'call_t', name: 'clock', arguments: '{"zone":"UTC"}' }] });
  mock.on({ userMessage: 'time', hasToolResult: true }, { content: 'It is noon.' });
}

const user = (content) => [{ role: 'user', content }];

test('models', async (t) => {
  const { ai } = await serveWithModel(t);
  const list = [];
  for await (const m of ai.models.list()) list.push(m);
  const ids = list.map((m) => m.id);
  assert.ok(ids.includes('anton') && ids.includes(model), `models ${ids}`);
  assert.equal(new Set(ids).size, ids.length);
  for (const m of list) {
    assert.deepEqual([m.object, typeof m.created, typeof m.owned_by], ['model', 'number', 'string']);
    assert.deepEqual(await ai.models.retrieve(m.id).then(({ _request_id, ...same }) => same), m);
  }
  await assert.rejects(ai.models.retrieve('no-such-model'), OpenAI.NotFoundError);
});

test('one JSON answer', async (t) => {
  const { ai, mock, requests, url } = await serveWithModel(t);
  mock.onMessage('hello', { content: 'Good morning.', usage: { prompt_tokens: 21, completion_tokens: 4, total_tokens: 25 } });
  const answer = await ai.chat.completions.create({
    model: 'anton', messages: [{ role: 'system', content: 'Be kind.' }, ...user('hello')], temperature: 0.5, max_completion_tokens: 50,
  });
  assert.deepEqual([answer.object, answer.choices.length, answer.choices[0].finish_reason], ['chat.completion', 1, 'stop']);
  assert.deepEqual([answer.choices[0].message.role, answer.choices[0].message.content], ['assistant', 'Good morning.']);
  assert.deepEqual([answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens], [21, 4, 25]);
  assert.ok(Number.isInteger(answer.created) && answer.id && answer.model);
  assert.match(JSON.stringify(requests[0].body.messages), /Be kind\./);
  assert.deepEqual([requests[0].body.temperature, requests[0].body.max_tokens ?? requests[0].body.max_completion_tokens], [0.5, 50]);
  const { conversations } = await (await fetch(`${url}/v1/conversations?project=all`)).json();
  assert.deepEqual(conversations, [], 'nothing is stored unless asked');
});

test('a stream', async (t) => {
  const { ai, mock } = await serveWithModel(t);
  mock.onMessage('hello', { content: 'Good morning from the model.' }, { chunkSize: 5 });
  const chunks = [];
  for await (const chunk of await ai.chat.completions.create({ model: 'anton', messages: user('hello'), stream: true })) chunks.push(chunk);
  assert.equal(chunks.map((c) => c.choices[0]?.delta?.content ?? '').join(''), 'Good morning from the model.');
  assert.equal(chunks[0].choices[0].delta.role, 'assistant');
  assert.deepEqual(chunks.map((c) => c.choices[0]?.finish_reason).filter(Boolean), ['stop']);
  assert.deepEqual([...new Set(chunks.map((c) => c.id))].length, 1);
  assert.ok(chunks.every((c) => c.object === 'chat.completion.chunk' && c.choices.length === 1 && !c.usage));
});

test('a stream with its usage', async (t) => {
  const { ai, mock } = await serveWithModel(t);
  mock.onMessage('hello', { content: 'Good morning.', usage: { prompt_tokens: 21, completion_tokens: 4, total_tokens: 25 } });
  const chunks = [];
  for await (const chunk of await ai.chat.completions.create({
    model: 'anton', messages: user('hello'), stream: true, stream_options: { include_usage: true },
  })) chunks.push(chunk);
  const last = chunks.at(-1);
  assert.deepEqual(last.choices, []);
  assert.deepEqual([last.usage.prompt_tokens, last.usage.completion_tokens, last.usage.total_tokens], [21, 4, 25]);
  assert.ok(chunks.slice(0, -1).every((c) => !c.usage));
});

test('the stream helper', async (t) => {
  const { ai, mock } = await serveWithModel(t);
  mock.onMessage('hello', { content: 'Good morning from the model.' }, { chunkSize: 5 });
  const final = await ai.chat.completions.stream({ model: 'anton', messages: user('hello') }).finalChatCompletion();
  assert.equal(final.choices[0].message.content, 'Good morning from the model.');
});

for (const stream of [false, true]) {
  test(`a tool there and back${stream ? ', streamed' : ''}`, async (t) => {
    const { ai, mock, requests } = await serveWithModel(t);
    scriptClock(mock);
    const ask = async (messages) => (stream
      ? ai.chat.completions.stream({ model: 'anton', messages, tools: [clock] }).finalChatCompletion()
      : ai.chat.completions.create({ model: 'anton', messages, tools: [clock] }));
    const first = await ask(user('time?'));
    assert.equal(first.choices[0].finish_reason, 'tool_calls');
    const { message } = first.choices[0];
    const [call] = message.tool_calls;
    assert.deepEqual([message.tool_calls.length, call.type, call.function.name, call.function.arguments], [1, 'function', 'clock', '{"zone":"UTC"}']);
    const said = { role: 'assistant', content: message.content, tool_calls: [{ id: call.id, type: 'function', function: { name: 'clock', arguments: call.function.arguments } }] };
    const second = await ask([...user('time?'), said, { role: 'tool', tool_call_id: call.id, content: '12:00' }]);
    assert.deepEqual([second.choices[0].message.content, second.choices[0].finish_reason], ['It is noon.', 'stop']);
    assert.deepEqual(transcript(requests[1]), ['user: time?', `assistant:  call ${call.id} clock({"zone":"UTC"})`, `result ${call.id}: 12:00`]);
  });

  test(`runTools runs to the end${stream ? ', streamed' : ''}`, async (t) => {
    const { ai, mock } = await serveWithModel(t);
    scriptClock(mock);
    const zones = [];
    const runner = ai.chat.completions.runTools({
      model: 'anton', messages: user('time?'), stream,
      tools: [{ type: 'function', function: { ...clock.function, parse: JSON.parse, function: ({ zone }) => { zones.push(zone); return '12:00'; } } }],
    });
    assert.equal(await runner.finalContent(), 'It is noon.');
    assert.deepEqual(zones, ['UTC']);
  });
}

test('a tool of the server runs out of sight', async (t) => {
  const { ai, mock, url } = await serveWithModel(t);
  mock.on({ userMessage: 'ferry', hasToolResult: false }, { toolCalls: [{ name: 'read_file', arguments: '{"path":"notes.md"}' }] });
  mock.on({ userMessage: 'ferry', hasToolResult: true }, { content: 'At 07:30.' });
  const put = await fetch(`${url}/v1/projects/general/files/notes.md`, {
    method: 'PUT', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ content: 'The ferry leaves at 07:30.' }),
  });
  assert.equal(put.status, 200);
  const answer = await ai.chat.completions.create({ model: 'anton', messages: user('When does the ferry leave?') });
  assert.deepEqual([answer.choices[0].message.content, answer.choices[0].finish_reason, answer.choices[0].message.tool_calls], ['At 07:30.', 'stop', undefined]);
});

test('structured output', async (t) => {
  const { ai, mock, requests } = await serveWithModel(t);
  mock.onMessage('look', { content: '{"city":"Naxos","degrees":31}' });
  const answer = await ai.chat.completions.parse({
    model: 'anton', messages: user('look'), response_format: zodResponseFormat(z.object({ city: z.string(), degrees: z.number() }), 'weather'),
  });
  assert.deepEqual(answer.choices[0].message.parsed, { city: 'Naxos', degrees: 31 });
  const sent = requests[0].body.response_format;
  assert.deepEqual([sent.type, sent.json_schema.name, sent.json_schema.strict], ['json_schema', 'weather', true]);
});

test('an image', async (t) => {
  const { ai, mock, requests } = await serveWithModel(t);
  mock.onMessage('look', { content: 'A dot.' });
  await ai.chat.completions.create({ model: 'anton', messages: user([{ type: 'text', text: 'look' }, { type: 'image_url', image_url: { url: png, detail: 'high' } }]) });
  assert.deepEqual(requests[0].body.messages.at(-1).content.find((p) => p.type === 'image_url').image_url, { url: png, detail: 'high' });
});

test('a history reaches the model in order', async (t) => {
  const { ai, mock, requests } = await serveWithModel(t);
  mock.onMessage('third', { content: 'Yes.' });
  await ai.chat.completions.create({
    model: 'anton', messages: [{ role: 'developer', content: 'Be kind.' }, ...user('first'), { role: 'assistant', content: 'second' }, ...user('third')],
  });
  assert.deepEqual(transcript(requests[0]), ['user: first', 'assistant: second', 'user: third']);
});

test('an answer that hits the token limit', async (t) => {
  const { ai, mock } = await serveWithModel(t);
  mock.onMessage('hello', { content: 'Half an ans', finishReason: 'length' });
  const answer = await ai.chat.completions.create({ model: 'anton', messages: user('hello'), max_tokens: 4 });
  assert.deepEqual([answer.choices[0].message.content, answer.choices[0].finish_reason], ['Half an ans', 'length']);
});

test('errors are the SDK\'s own classes', async (t) => {
  const { ai, mock } = await serveWithModel(t);
  mock.onMessage('refused', { error: { message: 'no', type: 'authentication_error' }, status: 401 });
  await assert.rejects(ai.chat.completions.create({ model: 'anton', messages: [] }), (e) => e instanceof OpenAI.APIError && (e.status === 400 || e.status === 422));
  await assert.rejects(ai.chat.completions.create({ model: 'anton', messages: user('refused') }), (e) => e instanceof OpenAI.BadRequestError && e.code === 'provider_auth');
  await assert.rejects(
    async () => {
      for await (const chunk of await ai.chat.completions.create({ model: 'anton', messages: user('refused'), stream: true })) assert.ok(chunk);
    },
    (e) => e instanceof OpenAI.APIError && e.code === 'provider_auth',
  );
});
