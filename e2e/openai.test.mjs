// The unmodified OpenAI SDK against the server, with aimock as the model.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { LLMock } from '@copilotkit/aimock';
import OpenAI from 'openai';
import { serve } from './server.mjs';

const mock = new LLMock({ port: 0 });

before(async () => {
  mock.onMessage('hello', { content: 'Good morning from the model.' });
  mock.on({ userMessage: 'ferry', hasToolResult: false }, {
    toolCalls: [{ name: 'read_file', arguments: JSON.stringify({ path: 'notes.md' }) }],
  });
  mock.on({ userMessage: 'ferry', hasToolResult: true }, { content: 'It leaves at 07:30.' });
  await mock.start();
});
after(() => mock.stop());

const withModel = (t) => serve(t, {
  ANTON_PLANNING_PROVIDER: 'openai-compatible', ANTON_PLANNING_MODEL: 'mock-model',
  ANTON_OPENAI_BASE_URL: mock.url, ANTON_OPENAI_API_KEY: 'sk-mock',
});

const sdk = (url) => new OpenAI({ baseURL: `${url}/v1`, apiKey: 'unused' });

test('create with stream', async (t) => {
  const { url } = await withModel(t);
  const types = [];
  let text = '';
  for await (const event of await sdk(url).responses.create({ model: 'anton', input: 'hello', stream: true })) {
    types.push(event.type);
    if (event.type === 'response.output_text.delta') text += event.delta;
  }
  assert.equal(types[0], 'response.created');
  assert.equal(types.at(-1), 'response.completed');
  assert.equal(text, 'Good morning from the model.');
});

test('the stream helper and its final response', async (t) => {
  const { url } = await withModel(t);
  const final = await sdk(url).responses.stream({ model: 'anton', input: 'hello' }).finalResponse();
  assert.equal(final.status, 'completed');
  assert.equal(final.output_text, 'Good morning from the model.');
});

test('one JSON answer, without saying stream', async (t) => {
  const { url } = await withModel(t);
  const answer = await sdk(url).responses.create({ model: 'anton', input: 'hello' });
  assert.equal(answer.output_text, 'Good morning from the model.');
  assert.equal(answer.object, 'response');
});

test('a tool of the server shows as an mcp_call and the file reaches the model', async (t) => {
  const { url } = await withModel(t);
  const put = await fetch(`${url}/v1/projects/general/files/notes.md`, {
    method: 'PUT', headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ content: 'The ferry leaves at 07:30.' }),
  });
  assert.equal(put.status, 200);
  const final = await sdk(url).responses.stream({ model: 'anton', input: 'When does the ferry leave?' }).finalResponse();
  const call = final.output.find((item) => item.type === 'mcp_call');
  assert.equal(call.name, 'read_file');
  assert.match(call.output, /07:30/);
  assert.equal(final.output_text, 'It leaves at 07:30.');
  const sent = JSON.stringify(mock.getRequests().at(-1));
  assert.ok(sent.includes('The ferry leaves at 07:30.'), 'the tool result is in the request to the model');
});

test('errors are the SDK\'s own classes', async (t) => {
  const { url } = await withModel(t);
  await assert.rejects(
    sdk(url).responses.create({ model: 'anton', input: [], stream: false }),
    (e) => e instanceof OpenAI.BadRequestError && /No user message/.test(e.message),
  );
  await assert.rejects(
    sdk(url).responses.create({ model: 'anton', input: 'hello', previous_response_id: 'resp_x' }),
    (e) => e instanceof OpenAI.UnprocessableEntityError && /previous_response_id/.test(e.message),
  );
});
