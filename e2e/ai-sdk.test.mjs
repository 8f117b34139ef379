// The AI SDK (`ai` with @ai-sdk/openai). With store it refers to earlier items by
// their ids; without, it sends them again.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createOpenAI } from '@ai-sdk/openai';
import { generateText, Output, stepCountIs, streamText, tool } from 'ai';
import { z } from 'zod';
import { png, serveWithModel, transcript } from './provider.mjs';

const apis = {
  'responses, stored': { of: (openai) => openai.responses('anton'), options: {}, referring: true },
  'responses, not stored': { of: (openai) => openai.responses('anton'), options: { openai: { store: false } } },
  'chat completions': { of: (openai) => openai.chat('anton'), options: {} },
};

async function setup(t, api) {
  const server = await serveWithModel(t);
  const posted = [];
  const openai = createOpenAI({
    baseURL: `${server.url}/v1`, apiKey: 'unused',
    fetch: (url, init) => {
      posted.push(JSON.parse(init.body));
      return fetch(url, init);
    },
  });
  return { ...server, posted, base: { model: api.of(openai), providerOptions: api.options, maxRetries: 0 } };
}

const refers = (body) => (body.input ?? []).some((item) => item.type === 'item_reference');

function script(mock) {
  mock.on({ userMessage: 'weather', hasToolResult: false }, { toolCalls: [{ id: 'call_w', name: 'weather', arguments: '{"city":"Naxos"}' }] });
  mock.on({ userMessage: 'weather', hasToolResult: true }, { content: 'Sunny in Naxos.' }, { chunkSize: 4 });
  mock.onMessage('thanks', { content: 'You are welcome.' });
}

const toolset = (asked) => ({
  weather: tool({
    description: 'The weather of a city.', inputSchema: z.object({ city: z.string() }),
    execute: async ({ city }) => { asked.push(city); return { sky: 'clear', city }; },
  }),
});

for (const [name, api] of Object.entries(apis)) {
  test(`${name}: generateText`, async (t) => {
    const { mock, base } = await setup(t, api);
    mock.onMessage('hello', { content: 'Good morning.', usage: { prompt_tokens: 21, completion_tokens: 4, total_tokens: 25 } });
    const answer = await generateText({ ...base, system: 'Be kind.', prompt: 'hello' });
    assert.deepEqual([answer.text, answer.finishReason, answer.usage.inputTokens, answer.usage.outputTokens], ['Good morning.', 'stop', 21, 4]);
  });

  test(`${name}: streamText`, async (t) => {
    const { mock, base } = await setup(t, api);
    mock.onMessage('hello', { content: 'Good morning from the model.' }, { chunkSize: 5 });
    const answer = streamText({ ...base, prompt: 'hello' });
    let text = '';
    for await (const piece of answer.textStream) text += piece;
    assert.deepEqual([text, await answer.finishReason], ['Good morning from the model.', 'stop']);
  });

  test(`${name}: a tool in several steps, then another question`, async (t) => {
    const { mock, base, posted, requests } = await setup(t, api);
    script(mock);
    const asked = [];
    const messages = [{ role: 'user', content: 'weather?' }];
    const answer = await generateText({ ...base, messages, tools: toolset(asked), stopWhen: stepCountIs(5) });
    assert.deepEqual([answer.text, answer.steps.length, asked], ['Sunny in Naxos.', 2, ['Naxos']]);

    const more = await generateText({ ...base, messages: [...messages, ...answer.response.messages, { role: 'user', content: 'thanks' }], tools: toolset(asked) });
    assert.equal(more.text, 'You are welcome.');
    assert.equal(refers(posted.at(-1)), api.referring ?? false);
    const kinds = transcript(requests.at(-1)).map((line) => line.replaceAll(/call_\w*/g, 'call'));
    assert.deepEqual(kinds, [
      'user: weather?', 'assistant:  call call weather({"city":"Naxos"})', 'result call: {"sky":"clear","city":"Naxos"}',
      'assistant: Sunny in Naxos.', 'user: thanks',
    ]);
  });

  test(`${name}: a tool in several steps, streamed`, async (t) => {
    const { mock, base } = await setup(t, api);
    script(mock);
    const asked = [];
    const answer = streamText({ ...base, prompt: 'weather?', tools: toolset(asked), stopWhen: stepCountIs(5) });
    const parts = [];
    for await (const part of answer.fullStream) parts.push(part.type);
    assert.ok(!parts.includes('error'), `parts ${parts}`);
    assert.deepEqual([await answer.text, asked, (await answer.steps).length], ['Sunny in Naxos.', ['Naxos'], 2]);
  });

  test(`${name}: structured output`, async (t) => {
    const { mock, base } = await setup(t, api);
    mock.onMessage('look', { content: '{"city":"Naxos","degrees":31}' });
    const answer = await generateText({ ...base, prompt: 'look', output: Output.object({ schema: z.object({ city: z.string(), degrees: z.number() }) }) });
    assert.deepEqual(answer.output, { city: 'Naxos', degrees: 31 });
  });

  test(`${name}: an image`, async (t) => {
    const { mock, base, requests } = await setup(t, api);
    mock.onMessage('look', { content: 'A dot.' });
    const answer = await generateText({ ...base, messages: [{ role: 'user', content: [{ type: 'text', text: 'look' }, { type: 'image', image: png }] }] });
    assert.equal(answer.text, 'A dot.');
    assert.equal(requests[0].body.messages.at(-1).content.find((p) => p.type === 'image_url').image_url.url, png);
  });
}

async function withNotes(t) {
  const server = await setup(t, apis['responses, stored']);
  server.mock.on({ userMessage: 'ferry', hasToolResult: false }, { toolCalls: [{ id: 'call_f', name: 'read_file', arguments: '{"path":"notes.md"}' }] });
  server.mock.on({ userMessage: 'ferry', hasToolResult: true }, { content: 'At 07:30.' });
  server.mock.onMessage('thanks', { content: 'You are welcome.' });
  const put = await fetch(`${server.url}/v1/projects/general/files/notes.md`, {
    method: 'PUT', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ content: 'The ferry leaves at 07:30.' }),
  });
  assert.equal(put.status, 200);
  return server;
}

test('responses: tools of the server are shown and do not stop the answer', async (t) => {
  const { base } = await withNotes(t);
  const answer = await generateText({ ...base, prompt: 'When does the ferry leave?' });
  assert.deepEqual([answer.text, answer.finishReason, answer.toolCalls.map((c) => c.providerExecuted)], ['At 07:30.', 'stop', [true]]);
  const streamed = streamText({ ...base, prompt: 'When does the ferry leave?' });
  assert.deepEqual([await streamed.text, (await streamed.toolCalls).map((c) => c.providerExecuted)], ['At 07:30.', [true]]);
});

test('responses: the next question refers to a tool of the server and to reasoning', async (t) => {
  const { base, mock, posted, requests } = await withNotes(t);
  mock.onMessage('think', { content: 'Thought.', reasoning: 'Let me think.' });
  const messages = [{ role: 'user', content: 'When does the ferry leave?' }];
  for (const content of ['think', 'thanks']) {
    const answer = await generateText({ ...base, messages });
    messages.push(...answer.response.messages, { role: 'user', content });
  }
  const more = await generateText({ ...base, messages });
  assert.equal(more.text, 'You are welcome.');
  assert.ok(refers(posted.at(-1)), JSON.stringify(posted.at(-1).input));
  assert.deepEqual(transcript(requests.at(-1)).map((line) => line.split(':')[0].split(' ')[0]), [
    'user', 'assistant', 'result', 'assistant', 'user', 'assistant', 'user',
  ]);
});

test('responses: reasoning', async (t) => {
  const { mock, base } = await setup(t, apis['responses, stored']);
  mock.onMessage('hello', { content: 'Hello.', reasoning: 'They greet me.' });
  const answer = await generateText({ ...base, prompt: 'hello' });
  assert.deepEqual([answer.text, answer.reasoningText], ['Hello.', 'They greet me.']);
});

test('responses: a failure of the provider is an error', async (t) => {
  const { mock, base } = await setup(t, apis['responses, stored']);
  mock.onMessage('hello', { error: { message: 'no' }, status: 401 });
  await assert.rejects(generateText({ ...base, prompt: 'hello' }), (e) => e.statusCode === 400);
  const streamed = streamText({ ...base, prompt: 'hello', onError: () => {} });
  const parts = [];
  for await (const part of streamed.fullStream) parts.push(part.type);
  assert.ok(parts.includes('error'), `parts ${parts}`);
});

test('responses: going on by previousResponseId and in a conversation', async (t) => {
  const { mock, base, requests } = await setup(t, apis['responses, stored']);
  mock.onMessage('first', { content: 'One.' });
  mock.onMessage('second', { content: 'Two.' });
  mock.onMessage('third', { content: 'Three.' });
  const first = await generateText({ ...base, prompt: 'first' });
  const { responseId } = first.providerMetadata.openai;
  const second = await generateText({ ...base, prompt: 'second', providerOptions: { openai: { previousResponseId: responseId } } });
  assert.equal(second.text, 'Two.');
  assert.deepEqual(transcript(requests[1]), ['user: first', 'assistant: One.', 'user: second']);
  for (const [prompt, text] of [['first', 'One.'], ['third', 'Three.']]) {
    assert.equal((await generateText({ ...base, prompt, providerOptions: { openai: { conversation: 'ai-sdk' } } })).text, text);
  }
  assert.deepEqual(transcript(requests[3]), ['user: first', 'assistant: One.', 'user: third']);
});
