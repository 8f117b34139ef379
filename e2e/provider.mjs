// A model provider for the server under test: aimock, and a wire in front of it
// that remembers what was sent and can hold an answer back or replace it.
import assert from 'node:assert/strict';
import { createServer, request as ask } from 'node:http';
import { text } from 'node:stream/consumers';
import { LLMock } from '@copilotkit/aimock';
import OpenAI from 'openai';
import { serve } from './server.mjs';

export const key = 'sk-CANARY-e2e-0123456789abcdef';
export const model = 'mock-model';

/** One red dot. */
export const png = 'data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';

/** The protocols that the server can speak to a provider, by ANTON_PLANNING_PROVIDER. */
export const protocols = {
  'openai-compatible': '/v1/chat/completions',
  openai: '/v1/responses',
  anthropic: '/v1/messages',
};

const settings = (protocol, url) => ({
  ANTON_PLANNING_PROVIDER: protocol,
  ANTON_PLANNING_MODEL: model,
  ...(protocol === 'anthropic'
    ? { ANTHROPIC_BASE_URL: url, ANTON_ANTHROPIC_API_KEY: key }
    : { ANTON_OPENAI_BASE_URL: url, ANTON_OPENAI_API_KEY: key }),
});

/**
 * Runs a provider until the test ends. Fixtures go to `mock`; `requests` are
 * {path, headers, body} as they came over the wire, oldest first. `plan` takes
 * over the next request instead of aimock.
 */
export async function provide(t) {
  const mock = new LLMock({ port: 0, logLevel: 'silent' });
  await mock.start();
  const requests = [];
  const plans = [];
  const wire = createServer(async (req, res) => {
    const body = await text(req).catch(() => null);
    if (body === null) return;
    requests.push({ path: req.url, headers: req.headers, body: JSON.parse(body) });
    const forward = () => {
      const up = ask(mock.url + req.url, { method: req.method, headers: req.headers }, (answer) => {
        res.writeHead(answer.statusCode, answer.headers);
        answer.on('error', () => res.destroy());
        answer.pipe(res);
      });
      up.on('error', () => res.destroy());
      res.on('close', () => up.destroy());
      up.end(body);
    };
    const plan = plans.shift();
    await (plan ? plan(res, forward) : forward());
  });
  await new Promise((done) => wire.listen(0, '127.0.0.1', done));
  t.after(async () => {
    wire.closeAllConnections();
    await new Promise((done) => wire.close(done));
    await mock.stop();
  });
  return { mock, requests, url: `http://127.0.0.1:${wire.address().port}`, plan: (f) => plans.push(f) };
}

/**
 * Holds the next answer of a provider back. `asked` resolves when the provider
 * is called, `gone` when the caller hung up; `release` lets the answer through.
 */
export function hold(provider) {
  const held = {};
  held.gone = new Promise((gone) => {
    held.asked = new Promise((asked) => {
      const released = new Promise((release) => { held.release = release; });
      provider.plan(async (res, forward) => {
        res.once('close', gone);
        asked();
        await Promise.race([released, new Promise((closed) => res.once('close', closed))]);
        if (!res.destroyed) forward();
      });
    });
  });
  return held;
}

/** A server that asks a provider of its own, and an OpenAI client for it. */
export async function serveWithModel(t, protocol = 'openai-compatible', env = {}) {
  const provider = await provide(t);
  const server = await serve(t, { ...settings(protocol, provider.url), ...env });
  return { ...server, provider, mock: provider.mock, requests: provider.requests, ai: sdk(server.url) };
}

/** The unmodified OpenAI SDK; it repeats nothing, so that a test sees every answer. */
export const sdk = (url, options = {}) =>
  new OpenAI({ baseURL: `${url}/v1`, apiKey: 'unused', maxRetries: 0, ...options });

/** What a chat completions request says besides its system prompt, a line a message. */
export function transcript(request) {
  const words = (content) => (Array.isArray(content) ? content.map((p) => p.text ?? `<${p.type}>`).join('') : content ?? '');
  return request.body.messages.filter((m) => m.role !== 'system' && m.role !== 'developer').map((m) => {
    if (m.role === 'tool') return `result ${m.tool_call_id}: ${words(m.content)}`;
    const calls = (m.tool_calls ?? []).map((c) => ` call ${c.id} ${c.function.name}(${c.function.arguments})`);
    return `${m.role}: ${words(m.content)}${calls.join('')}`;
  });
}

/** The system prompt of a chat completions request. */
export const systemPrompt = (request) =>
  request.body.messages.filter((m) => m.role === 'system' || m.role === 'developer').map((m) => JSON.stringify(m.content)).join('\n');

/** Gives the next requests to the model these answers, in this order. */
export function script({ mock, requests }, ...answers) {
  const from = requests.length + 1;
  answers.forEach((answer, i) => mock.on({ predicate: () => requests.length === from + i }, answer));
}

/**
 * What a request hands to the model besides its system prompt, the same in every
 * protocol: {role, text}, {role, image}, {call, name, input}, {result, text}.
 */
export function exchange({ path, body }) {
  const said = (role) => (part) => (part.text === undefined ? { role, image: part.source?.data ?? part.image_url?.url ?? part.image_url } : { role, text: part.text });
  const parts = (content) => (typeof content === 'string' ? [{ text: content }] : content ?? []);
  const words = (content) => parts(content).map((part) => part.text ?? '').join('');
  if (path === protocols.openai) {
    return body.input.flatMap((item) => {
      switch (item.type ?? 'message') {
        case 'message': return ['system', 'developer'].includes(item.role) ? [] : parts(item.content).map(said(item.role));
        case 'function_call': return [{ call: item.call_id, name: item.name, input: JSON.parse(item.arguments) }];
        case 'function_call_output': return [{ result: item.call_id, text: words(item.output) }];
      }
      return [];
    });
  }
  return body.messages.flatMap((message) => {
    if (message.role === 'system' || message.role === 'developer') return [];
    if (message.role === 'tool') return [{ result: message.tool_call_id, text: words(message.content) }];
    const calls = (message.tool_calls ?? []).map((c) => ({ call: c.id, name: c.function.name, input: JSON.parse(c.function.arguments) }));
    const content = parts(message.content).filter((part) => part.type !== 'thinking').map((part) => {
      if (part.type === 'tool_use') return { call: part.id, name: part.name, input: part.input };
      if (part.type === 'tool_result') return { result: part.tool_use_id, text: words(part.content) };
      return said(message.role)(part);
    });
    return [...content, ...calls];
  });
}

/**
 * Fails unless each call in a request has its result right behind it, and each
 * result its call. Returns the request's parts.
 */
export function paired(request) {
  const all = exchange(request);
  const open = [];
  for (const part of all) {
    if (part.call) open.push(part.call);
    else if (part.result) assert.ok(open.includes(part.result) && open.splice(open.indexOf(part.result), 1), `${part.result} has no call in ${JSON.stringify(all)}`);
    else assert.deepEqual(open, [], `calls without results in ${JSON.stringify(all)}`);
  }
  assert.deepEqual(open, [], `calls without results in ${JSON.stringify(all)}`);
  return all;
}
