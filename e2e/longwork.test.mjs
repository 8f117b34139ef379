// Long conversations and words said meanwhile, by the unmodified OpenAI SDK, in
// each protocol that the server speaks to providers.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { exchange, hold, paired, protocols, script, serveWithModel } from './provider.mjs';
import { call, filesWith } from './server.mjs';

const rule = 'Never touch the folder prod-7.';
const long = 'word '.repeat(600);

/** How providers say that a request is longer than the model takes. */
const overflows = {
  'openai-compatible': [400, { error: { message: "This model's maximum context length is 8192 tokens.", type: 'invalid_request_error', code: 'context_length_exceeded' } }],
  openai: [400, { error: { message: 'Your input exceeds the context window of this model.', type: 'invalid_request_error', param: 'input', code: 'context_length_exceeded' } }],
  anthropic: [400, { type: 'error', error: { type: 'invalid_request_error', message: 'prompt is too long: 213462 tokens > 200000 maximum' } }],
};

const refuse = (protocol) => (res) => {
  const [status, body] = overflows[protocol];
  res.writeHead(status, { 'Content-Type': 'application/json' });
  res.end(JSON.stringify(body));
};

const listing = (id) => ({ toolCalls: [{ id, name: 'list_files', arguments: '{}' }] });
const words = (request) => exchange(request).map((part) => part.text ?? '').join('\n');

describe('a conversation longer than the model takes', () => {
  for (const protocol of Object.keys(protocols)) {
    test(protocol, async (t) => {
      const server = await serveWithModel(t, protocol, { ANTON_AUX_LLM: 'off' });
      const { ai, requests, provider } = server;
      for (let i = 0; i < 5; i++) {
        script(server, listing(`call_${i}`), { content: `Answer ${i}.` });
        await ai.responses.create({ model: 'anton', conversation: 'c', input: `${i === 0 ? `${rule} ` : ''}Question ${i}. ${long}` });
      }
      const before = await call(`${server.url}/v1/conversations/c/messages`);
      provider.plan(refuse(protocol));
      const size = requests.length;
      server.mock.on({ predicate: () => requests.length === size + 2 }, { content: 'Short enough.' });
      const told = [];
      let text = '';
      for await (const event of await ai.responses.create({ model: 'anton', conversation: 'c', input: 'And now?', stream: true })) {
        if (event.thought_role === 'thought.context_compacted') told.push(event);
        if (event.type === 'response.completed') text = event.response.output_text;
      }
      assert.equal(text, 'Short enough.');
      assert.equal(told.length, 1);
      assert.ok(told[0].compaction.tokens_after < told[0].compaction.tokens_before && told[0].compaction.messages_dropped > 1);
      const [refused, shortened] = requests.slice(-2);
      paired(shortened);
      assert.ok(JSON.stringify(shortened.body).length < JSON.stringify(refused.body).length);
      assert.match(words(shortened), new RegExp(rule));
      assert.match(words(shortened), /for reference only/);
      const after = await call(`${server.url}/v1/conversations/c/messages`);
      assert.deepEqual(after.messages.slice(0, before.messages.length), before.messages, 'what is stored changed');
    });
  }
});

describe('what the user says while a turn works', () => {
  for (const protocol of Object.keys(protocols)) {
    test(protocol, async (t) => {
      const server = await serveWithModel(t, protocol);
      const { ai, provider, requests } = server;
      script(server, listing('call_a'), { content: 'Only a.' }, { content: 'Later done.' });
      const held = hold(provider);
      const first = ai.responses.create({ model: 'anton', conversation: 'c', input: 'Read all.' });
      await held.asked;
      const steered = ai.responses.create({ model: 'anton', conversation: 'c', input: 'No, only a.txt!', when_busy: 'steer' });
      const waits = ai.responses.create({ model: 'anton', conversation: 'c', input: 'Later.', when_busy: 'queue' });
      const mistaken = ai.responses.create({ model: 'anton', conversation: 'c', input: 'Oops.', when_busy: 'queue' });
      const refused = assert.rejects(mistaken, (e) => e.status === 409 && e.code === 'taken_back');
      let queue = [];
      while (queue.length < 3) ({ queue } = await call(`${server.url}/v1/conversations/c/queue`));
      assert.equal(queue[0].mode, 'steer');
      const { queue_id } = queue.find((e) => e.text === 'Oops.');
      assert.equal((await call(`${server.url}/v1/conversations/c/queue/${queue_id}`, 'DELETE')).text, 'Oops.');
      await refused;
      held.release();
      const [one, two, three] = await Promise.all([first, steered, waits]);
      assert.equal(one.output_text, 'Only a.');
      assert.equal(two.id, one.id);
      assert.equal(three.output_text, 'Later done.');
      requests.map(paired);
      assert.deepEqual(exchange(requests[1]).slice(-2).map((part) => part.result ?? part.text), ['call_a', 'No, only a.txt!']);
      const { data } = await ai.conversations.items.list('c', { order: 'asc' });
      assert.deepEqual(data.map((item) => item.role ?? item.type), ['user', 'mcp_call', 'user', 'assistant', 'user', 'assistant']);
    });
  }
});

test('a fork goes on by itself, and an ephemeral one leaves nothing', async (t) => {
  const server = await serveWithModel(t);
  const { ai } = server;
  script(server, { content: 'First.' }, { content: 'Second.' }, { content: 'Other.' });
  await ai.responses.create({ model: 'anton', conversation: 'c', input: 'one' });
  await ai.responses.create({ model: 'anton', conversation: 'c', input: 'two' });
  const before = await call(`${server.url}/v1/conversations/c/messages`);
  const fork = await call(`${server.url}/v1/conversations/c/fork`, 'POST', { turn: 0, ephemeral: true });
  assert.deepEqual([fork.turns, fork.forked_from.conversation_id, fork.ephemeral], [1, 'c', true]);
  const other = await ai.responses.create({ model: 'anton', conversation: fork.id, input: 'CANARY-zebrafinch' });
  assert.equal(other.output_text, 'Other.');
  assert.deepEqual(await call(`${server.url}/v1/conversations/c/messages`), before);
  const { conversations } = await call(`${server.url}/v1/conversations?project=all`);
  assert.deepEqual(conversations.map((c) => c.id), ['c']);
  assert.deepEqual(await filesWith(server.home, 'CANARY-zebrafinch'), []);
});
