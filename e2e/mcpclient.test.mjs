// Tools of servers that are written with the official SDK, over both transports,
// called by a turn.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import { harbour } from './fixtures/toolserver.mjs';
import { exchange, paired, script, serveWithModel } from './provider.mjs';
import { call } from './server.mjs';

const tool = (id, name, input) => ({ toolCalls: [{ id, name, arguments: JSON.stringify(input) }] });
const result = (request, id) => exchange(request).find((part) => part.result === id).text;

/** Writes the file of the only project. */
async function configure(server, mcpServers) {
  const { projects: [{ path }] } = await call(`${server.url}/v1/projects`);
  await mkdir(join(path, '.anton'), { recursive: true });
  await writeFile(join(path, '.anton', 'mcp.json'), JSON.stringify({ mcpServers }));
}

/** Serves the tools over streamable HTTP, with sessions; requests need the key. */
async function overHTTP(t, key, ...heard) {
  const sessions = new Map();
  const http = createServer(async (request, answer) => {
    if (request.headers.authorization !== `Bearer ${key}`) {
      answer.writeHead(401).end();
      return;
    }
    let transport = sessions.get(request.headers['mcp-session-id']);
    if (!transport) {
      transport = new StreamableHTTPServerTransport({
        sessionIdGenerator: randomUUID, onsessioninitialized: (id) => sessions.set(id, transport),
      });
      await harbour(...heard).connect(transport);
    }
    await transport.handleRequest(request, answer);
  });
  http.listen(0, '127.0.0.1');
  await once(http, 'listening');
  t.after(() => { http.closeAllConnections(); http.close(); });
  return { type: 'http', url: `http://127.0.0.1:${http.address().port}/mcp`, headers: { Authorization: `Bearer ${key}` } };
}

const key = 'key-CANARY-of-the-harbour-1';
const transports = {
  stdio: async () => ({ command: process.execPath, args: [resolve(import.meta.dirname, 'fixtures/stdiotools.mjs')], env: { HARBOUR_KEY: key } }),
  'streamable HTTP': (t) => overHTTP(t, key),
};

for (const [name, entry] of Object.entries(transports)) {
  test(`tools over ${name}`, async (t) => {
    const server = await serveWithModel(t);
    const { ai, requests } = server;
    await configure(server, { harbour: await entry(t) });
    script(server, tool('call_1', 'mcp__harbour__find_berth', { ship: 'Aurora' }), tool('call_2', 'mcp__harbour__sink', {}), { content: 'At Z-6.' });
    const answer = await ai.responses.create({ model: 'anton', conversation: 'c', input: 'Where is the Aurora?' });
    assert.equal(answer.output_text, 'At Z-6.');
    requests.map(paired);
    const last = requests.at(-1);
    assert.deepEqual(JSON.parse(result(last, 'call_1')), { ship: 'Aurora', berth: 'Z-6' });
    assert.match(result(last, 'call_2'), /it floats/);
    const offered = last.body.tools.map((one) => one.function).find((f) => f.name === 'mcp__harbour__find_berth');
    assert.equal(offered.description, 'Where a ship lies');
    assert.deepEqual(offered.parameters.required, ['ship']);
    assert.deepEqual(answer.output.filter((item) => item.type === 'mcp_call').map((item) => [item.name, item.status]),
      [['mcp__harbour__find_berth', 'completed'], ['mcp__harbour__sink', 'failed']]);

    const { servers: [listed] } = await call(`${server.url}/v1/settings/mcp`);
    assert.equal(listed.state, 'connected', listed.problem);
    assert.deepEqual(listed.tools.map((one) => [one.tool, one.title]), [['find_berth', 'Find a berth'], ['sink', ''], ['ring', '']]);
    assert.ok(!JSON.stringify([listed, requests.map((r) => r.body)]).includes(key));

    await call(`${server.url}/v1/conversations/c`, 'PATCH', { mcp: { deny: ['harbour/find_*'] } });
    script(server, { content: 'No.' });
    await ai.responses.create({ model: 'anton', conversation: 'c', input: 'And now?' });
    const left = requests.at(-1).body.tools.map((one) => one.function.name).filter((n) => n.startsWith('mcp__'));
    assert.deepEqual(left, ['mcp__harbour__ring', 'mcp__harbour__sink']);
  });
}

test('stopping a turn cancels the call', async (t) => {
  const server = await serveWithModel(t);
  const rang = deferred();
  const stopped = deferred();
  await configure(server, { harbour: await overHTTP(t, key, rang.resolve, stopped.resolve) });
  script(server, tool('call_r', 'mcp__harbour__ring', {}));
  const turn = server.ai.responses.create({ model: 'anton', conversation: 'c', input: 'Ring!' });
  await rang.promise;
  assert.equal((await call(`${server.url}/v1/responses/cancel`, 'POST', { conversation_id: 'c' })).cancelled, true);
  await stopped.promise;
  assert.equal((await turn).status, 'cancelled');
});

function deferred() {
  const d = {};
  d.promise = new Promise((resolve) => { d.resolve = resolve; });
  return d;
}
