// The unmodified OpenAI SDK for Go: the checks of openaigo.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { serveWithModel } from './provider.mjs';

const program = resolve(import.meta.dirname, process.env.OPENAIGO_BINARY ?? '../bin/openaigo');

test('openai-go', async (t) => {
  const { mock, url } = await serveWithModel(t);
  mock.onMessage('hello', { content: 'Good morning from the model.', usage: { prompt_tokens: 21, completion_tokens: 4, total_tokens: 25 } }, { chunkSize: 5 });
  mock.on({ userMessage: 'weather', hasToolResult: false }, { toolCalls: [{ id: 'call_w', name: 'get_weather', arguments: '{"city":"Naxos"}' }] });
  mock.on({ userMessage: 'weather', hasToolResult: true }, { content: 'Sunny in Naxos.' });
  mock.onMessage('structured', { content: '{"city":"Naxos"}' });
  mock.onMessage('take your time', () => new Promise(() => {}));
  mock.onMessage('limited', { error: { message: 'slow down', code: 'rate_limit_exceeded' }, status: 429, retryAfter: 3600 });
  const child = spawn(program, ['-base', `${url}/v1`], { stdio: ['ignore', 'inherit', 'pipe'] });
  const [err, code] = await Promise.all([text(child.stderr), new Promise((done) => child.once('exit', done))]);
  assert.equal(code, 0, err);
});
