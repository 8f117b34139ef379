// Memory and skills, by the unmodified OpenAI SDK and aimock in each protocol
// that the server speaks to providers.
import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { exchange, paired, protocols, script, serveWithModel } from './provider.mjs';
import { call } from './server.mjs';

const tool = (id, name, input) => ({ toolCalls: [{ id, name, arguments: JSON.stringify(input) }] });
const result = (request, id) => exchange(request).find((part) => part.result === id).text;

/** All that a request tells the model, its system prompt too. */
const told = (request) => JSON.stringify(request.body);

const ends = async (stream) => {
  const found = [];
  for await (const event of stream) if (event.thought_role === 'thought.recall.end') found.push(event);
  return found;
};

describe('what a turn remembers, a later one recalls', () => {
  for (const protocol of Object.keys(protocols)) {
    test(protocol, async (t) => {
      const server = await serveWithModel(t, protocol);
      const { ai, requests } = server;
      script(server, tool('call_m', 'memorize', { entries: [{ text: 'The berth is Z-41.', kind: 'lesson', scope: 'project' }] }), { content: 'Noted.' });
      await ai.responses.create({ model: 'anton', conversation: 'a', input: 'Our berth is Z-41, the zebrafinch one.' });
      const { entries } = await call(`${server.url}/v1/memory`);
      assert.deepEqual(entries.map((e) => [e.content, e.source.by, e.source.conversationId]), [['The berth is Z-41.', 'agent', 'a']]);

      await server.crash();
      script(server, tool('call_r', 'recall', { query: 'zebrafinch berth' }), { content: 'Z-41.' });
      const [end] = await ends(await ai.responses.create({ model: 'anton', conversation: 'b', input: 'Which one was it?', stream: true }));
      const sources = end.hits.map((h) => `${h.source} ${h.role} ${h.session}`);
      assert.ok(sources.includes('memory agent a') && sources.includes('conversation user a'), sources.join());
      assert.equal(JSON.parse(end.content).query, 'zebrafinch berth');
      requests.map(paired);
      assert.match(told(requests.at(-2)), /The berth is Z-41\./);
      assert.match(result(requests.at(-1), 'call_r'), /zebrafinch one/);
    });
  }
});

test('a memory file edited by hand is in the next prompt, a broken one is kept and reported', async (t) => {
  const server = await serveWithModel(t);
  const { ai, requests } = server;
  script(server, { content: 'One.' }, { content: 'Two.' });
  const { sections } = await call(`${server.url}/v1/memory`);
  const root = sections.find((s) => s.scope === 'Global').root;
  await mkdir(root, { recursive: true });
  await writeFile(join(root, 'rules.md'), '## Never\n\n- Touch prod-7.\n');
  await ai.responses.create({ model: 'anton', conversation: 'c', input: 'one' });
  assert.match(told(requests.at(-1)), /Never: Touch prod-7\./);
  await writeFile(join(root, 'rules.md'), '## Never\n\n- Touch prod-8.\n');
  await writeFile(join(root, 'lessons.md'), '- CANARY <!-- anthill: {');
  await ai.responses.create({ model: 'anton', conversation: 'c', input: 'two' });
  assert.match(told(requests.at(-1)), /Touch prod-8\./);
  assert.doesNotMatch(told(requests.at(-1)), /prod-7|CANARY/);
  const { problems } = await call(`${server.url}/v1/memory`);
  assert.deepEqual(problems.map((p) => p.relativePath), ['lessons.md']);
});

test('a skill is listed in the prompt and loaded by a turn', async (t) => {
  const server = await serveWithModel(t);
  const { ai, requests } = server;
  await call(`${server.url}/v1/skills`, 'POST', { label: 'sea-charts', name: 'Sea charts', description: 'Reads charts.', whenToUse: 'a chart comes', declarative: '# How\n\nRed is port.' });
  script(server, tool('call_s', 'recall_skill', { label: 'sea charts' }), { content: 'Port.' });
  const [end] = await ends(await ai.responses.create({ model: 'anton', conversation: 'c', input: 'What is red?', stream: true }));
  assert.equal(end.hits[0].id, 'sea-charts');
  assert.match(told(requests.at(-2)), /sea-charts: Reads charts\. Use it when: a chart comes/);
  assert.match(result(requests.at(-1), 'call_s'), /Red is port\./);
  const { skills } = await call(`${server.url}/v1/skills`);
  assert.equal(skills[0].stats.totalRecalls, 1);
});
