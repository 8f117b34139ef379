// A provider in trouble, as aimock plays it, in every protocol; the rest of the
// faults are in the Go tests, which control every byte.
import assert from 'node:assert/strict';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { key, model, protocols, provide, sdk, serveWithModel } from './provider.mjs';
import { filesWith, serve } from './server.mjs';

const terminal = ['response.completed', 'response.incomplete', 'response.failed'];

// 'again' comes first where both could match: a question that was not answered
// reaches the model together with the next.

/** Streams one question, and asserts that it ends once. */
async function ask(ai, input, more = {}) {
  const events = [];
  for await (const event of await ai.responses.create({ model: 'anton', input, stream: true, ...more })) events.push(event);
  const ends = events.filter((e) => terminal.includes(e.type));
  assert.deepEqual([ends.length, events.at(-1)], [1, ends[0]], `one terminal event, last: ${events.map((e) => e.type)}`);
  const { response } = ends[0];
  const text = events.filter((e) => e.type === 'response.output_text.delta').map((e) => e.delta).join('');
  return { ...response, text, conversation: response.conversation?.id };
}

for (const protocol of Object.keys(protocols)) {
  for (const status of [429, 500, 503, 529]) {
    test(`${protocol}: ${status}, then an answer`, async (t) => {
      const { ai, mock, requests } = await serveWithModel(t, protocol);
      mock.onMessage('hello', { content: 'Hello at last.' });
      mock.nextRequestError(status, { message: `the key was ${key}`, type: 'server_error' });
      const answer = await ask(ai, 'hello');
      assert.deepEqual([answer.status, answer.text, requests.length], ['completed', 'Hello at last.', 2]);
    });
  }

  // The latency lets each chunk out before the connection breaks.
  test(`${protocol}: cut after a few chunks`, async (t) => {
    const { ai, mock, requests } = await serveWithModel(t, protocol);
    const whole = 'A long answer that never comes to its end.';
    mock.onMessage('again', { content: 'Whole.' });
    mock.onMessage('hello', { content: whole }, { chunkSize: 3, truncateAfterChunks: 8, latency: 5 });
    const answer = await ask(ai, 'hello');
    assert.deepEqual([answer.status, requests.length], ['incomplete', 1]);
    assert.ok(answer.text !== '' && answer.text !== whole && whole.startsWith(answer.text), answer.text);
    assert.equal((await ai.responses.retrieve(answer.id)).output_text, answer.text);
    assert.equal((await ask(ai, 'again', { conversation: answer.conversation })).text, 'Whole.');
  });

  test(`${protocol}: a call that is cut is not run`, async (t) => {
    const { ai, mock, requests } = await serveWithModel(t, protocol);
    const call = { name: 'read_file', arguments: JSON.stringify({ path: 'notes.md'.repeat(20) }) };
    mock.onMessage('again', { content: 'Whole.' });
    mock.onMessage('hello', { toolCalls: [call] }, { chunkSize: 3, truncateAfterChunks: 10, latency: 5 });
    const answer = await ask(ai, 'hello');
    assert.deepEqual([answer.status, requests.length], ['incomplete', 1]);
    assert.ok(answer.output.every((item) => item.status !== 'completed' && !item.output), JSON.stringify(answer.output));
    assert.equal((await ask(ai, 'again', { conversation: answer.conversation })).text, 'Whole.');
  });

  test(`${protocol}: a malformed answer`, async (t) => {
    const { ai, mock } = await serveWithModel(t, protocol);
    mock.onMessage('again', { content: 'Whole.' });
    mock.onMessage('hello', { content: 'Never seen.' }, { chaos: { malformedRate: 1 } });
    const answer = await ask(ai, 'hello');
    assert.deepEqual([answer.status, answer.text], ['failed', '']);
    assert.equal((await ask(ai, 'again', { conversation: answer.conversation })).text, 'Whole.');
  });

  test(`${protocol}: a key that is given in the settings stays there`, async (t) => {
    const provider = await provide(t);
    provider.mock.onMessage('hello', { error: { message: `${key} is not valid`, type: key, code: key }, status: 401 });
    const base = protocol === 'anthropic' ? { ANTHROPIC_BASE_URL: provider.url } : { ANTON_OPENAI_BASE_URL: provider.url };
    const server = await serve(t, base);
    const ai = sdk(server.url);
    const settings = { planningProvider: protocol, planningModel: model, [protocol === 'anthropic' ? 'anthropicApiKey' : 'openaiApiKey']: key };
    const seen = [];
    const tell = async (method, path, body) => {
      const answer = await fetch(server.url + path, { method, body: body && JSON.stringify(body), headers: { 'Content-Type': 'application/json' } });
      seen.push(await answer.text(), JSON.stringify([...answer.headers]));
      return answer.status;
    };
    assert.equal(await tell('PUT', '/v1/settings', settings), 200);
    const answer = await ask(ai, 'hello');
    assert.equal(answer.error.code, 'provider_auth');
    seen.push(JSON.stringify(answer));
    assert.ok(JSON.stringify(provider.requests[0].headers).includes(key), 'the provider is given the key');
    for (const stream of [true, false]) {
      await tell('POST', '/v1/responses', { input: 'hello', stream });
      await tell('POST', '/v1/chat/completions', { model: 'anton', messages: [{ role: 'user', content: 'hello' }], stream });
    }
    for (const path of ['/health', '/v1/settings', '/v1/models', '/v1/conversations?project=all', `/v1/conversations/${answer.conversation}/messages`,
      `/v1/responses/${answer.id}`, `/v1/responses/${answer.id}?stream=true`, `/v1/responses/tail?conversation_id=${answer.conversation}&from_seq=0`]) {
      assert.equal(await tell('GET', path), 200, path);
    }
    await server.stop();
    for (const text of [...seen, server.log()]) assert.ok(!text.includes(key), text);
    const settingsFile = join(server.home, '.anton', '.env');
    assert.ok((await readFile(settingsFile, 'utf8')).includes(key), 'it is kept for the next start');
    assert.equal((await stat(settingsFile)).mode & 0o777, 0o600);
    assert.deepEqual(await filesWith(server.home, key), [settingsFile]);
  });
}
