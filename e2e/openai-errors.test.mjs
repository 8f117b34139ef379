// The unmodified OpenAI SDK: every refusal is one of its own error classes.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import OpenAI from 'openai';
import { hold, sdk, serveWithModel } from './provider.mjs';

/** Asserts the class of an error and its shape. */
const refused = (kind, pattern) => (e) => {
  assert.ok(e instanceof kind, `${e.constructor.name} ${e.status}: ${e.message}`);
  assert.match(e.message, pattern);
  assert.equal(typeof e.error.message, 'string');
  assert.equal(typeof e.type, 'string');
  assert.ok('code' in e.error && 'param' in e.error, JSON.stringify(e.error));
  assert.ok(e.requestID, 'x-request-id');
  return true;
};

for (const [name, { kind = OpenAI.APIError, pattern, ...more }] of Object.entries({
  'no input': { input: [], kind: OpenAI.BadRequestError, pattern: /No user message/ },
  'input missing': { input: undefined, kind: OpenAI.UnprocessableEntityError, pattern: /input/ },
  'a number that is none': { temperature: 'hot', pattern: /temperature/ },
  'a number out of range': { temperature: 17, pattern: /temperature/ },
  'two ways to go on': { conversation: 'c', previous_response_id: 'resp_1', pattern: /previous_response_id/ },
  'background without store': { background: true, store: false, pattern: /store|background/ },
  'a bad name of a tool': { tools: [{ type: 'function', name: 'has space', parameters: {}, strict: false }], pattern: /name/ },
  'a choice of no tool': { tool_choice: { type: 'function', name: 'nobody' }, pattern: /nobody|tool_choice/ },
  'the output of no call': { input: [{ type: 'function_call_output', call_id: 'call_unknown', output: 'x' }], pattern: /call_unknown|call_id/ },
  'a reference to nothing': { input: [{ type: 'item_reference', id: 'msg_unknown' }, { role: 'user', content: 'hello' }], pattern: /msg_unknown|item_reference/ },
  'too much metadata': { metadata: Object.fromEntries(Array.from({ length: 17 }, (_, i) => [`k${i}`, 'v'])), pattern: /metadata/ },
})) {
  test(`refused before the model is asked: ${name}`, async (t) => {
    const { ai, mock, requests } = await serveWithModel(t);
    mock.on({}, { content: 'I was asked.' });
    await assert.rejects(ai.responses.create({ model: 'anton', input: 'hello', ...more }), (e) => {
      assert.ok([400, 404, 422].includes(e.status), `${e.status} ${e.message}`);
      return refused(kind, pattern)(e);
    });
    assert.equal(requests.length, 0, 'the model was not asked');
  });
}

test('404: what is not there', async (t) => {
  const { ai } = await serveWithModel(t);
  await assert.rejects(ai.responses.retrieve('resp_x'), refused(OpenAI.NotFoundError, /not found/i));
  await assert.rejects(ai.responses.cancel('resp_x'), refused(OpenAI.NotFoundError, /not found/i));
  await assert.rejects(ai.responses.delete('resp_x'), refused(OpenAI.NotFoundError, /not found/i));
  await assert.rejects(ai.responses.inputItems.list('resp_x'), refused(OpenAI.NotFoundError, /not found/i));
  await assert.rejects(ai.responses.retrieve('resp_x', { stream: true }), refused(OpenAI.NotFoundError, /not found/i));
  await assert.rejects(ai.conversations.retrieve('conv_x'), refused(OpenAI.NotFoundError, /not found/i));
  await assert.rejects(ai.conversations.update('conv_x', { metadata: {} }), refused(OpenAI.NotFoundError, /not found/i));
  await assert.rejects(ai.conversations.items.create('conv_x', { items: [{ role: 'user', content: 'a' }] }), refused(OpenAI.NotFoundError, /not found/i));
  await assert.rejects(ai.models.retrieve('no-such-model'), refused(OpenAI.NotFoundError, /not found|no-such-model/i));
  await assert.rejects(ai.embeddings.create({ model: 'm', input: 'a' }), (e) => e instanceof OpenAI.NotFoundError);
  await assert.rejects(
    ai.responses.create({ model: 'anton', input: 'hello', previous_response_id: 'resp_x' }),
    (e) => e instanceof OpenAI.APIError && (e.status === 404 || e.status === 400) && /resp_x|previous_response|not found/i.test(e.message),
  );
});

test('409: a conversation that is busy', async (t) => {
  const { ai, mock, provider } = await serveWithModel(t);
  mock.onMessage('hello', { content: 'Hello.' });
  const held = hold(provider);
  const first = ai.responses.create({ model: 'anton', input: 'hello', conversation: 'one-at-a-time' });
  await held.asked;
  await assert.rejects(ai.responses.create({ model: 'anton', input: 'hello', conversation: 'one-at-a-time' }), refused(OpenAI.ConflictError, /./));
  held.release();
  assert.equal((await first).output_text, 'Hello.');
});

test('401: a key that is wanted', async (t) => {
  const { url, mock } = await serveWithModel(t, 'openai-compatible', { ANT_API_KEY: 'the-key-of-the-server' });
  mock.onMessage('hello', { content: 'Hello.' });
  for (const call of [
    (ai) => ai.responses.create({ model: 'anton', input: 'hello' }), (ai) => ai.responses.create({ model: 'anton', input: 'hello', stream: true }),
    (ai) => ai.responses.retrieve('resp_x'), (ai) => ai.conversations.create({}), (ai) => ai.models.list(),
    (ai) => ai.chat.completions.create({ model: 'anton', messages: [{ role: 'user', content: 'hello' }] }),
  ]) {
    await assert.rejects(call(sdk(url, { apiKey: 'wrong' })), refused(OpenAI.AuthenticationError, /./));
  }
  const right = sdk(url, { apiKey: 'the-key-of-the-server' });
  assert.equal((await right.responses.create({ model: 'anton', input: 'hello' })).output_text, 'Hello.');
});

test('what the provider refuses', async (t) => {
  const { ai, mock } = await serveWithModel(t);
  const script = (word, status, error) => mock.onMessage(word, { error: { message: `provider says ${word}`, ...error }, status, retryAfter: 3600 });
  script('unauthorized', 401, { code: 'invalid_api_key' });
  script('limited', 429, { code: 'rate_limit_exceeded' });
  script('unknown-model', 404, { code: 'model_not_found' });
  script('too-long', 400, { code: 'context_length_exceeded' });
  for (const [word, kind, code] of [
    ['unauthorized', OpenAI.BadRequestError, 'provider_auth'], ['limited', OpenAI.RateLimitError, 'rate_limited'],
    ['unknown-model', OpenAI.BadRequestError, 'unknown_model'], ['too-long', OpenAI.BadRequestError, 'context_overflow'],
  ]) {
    await assert.rejects(ai.responses.create({ model: 'anton', input: word }), (e) => refused(kind, /./)(e) && e.code === code && !e.message.includes('provider says'), word);
    const streamed = await ai.responses.stream({ model: 'anton', input: word }).finalResponse();
    assert.deepEqual([streamed.status, streamed.error.code], ['failed', code]);
  }
});

test('what the server has tried often enough the SDK does not try again', async (t) => {
  const { url, mock, requests } = await serveWithModel(t);
  mock.onMessage('hello', { error: { message: 'slow down' }, status: 429, retryAfter: 3600 });
  const patient = sdk(url, { maxRetries: 3 });
  await assert.rejects(patient.responses.create({ model: 'anton', input: 'hello' }), OpenAI.RateLimitError);
  await assert.rejects(patient.chat.completions.create({ model: 'anton', messages: [{ role: 'user', content: 'hello' }] }), OpenAI.RateLimitError);
  assert.equal(requests.length, 2);
});
