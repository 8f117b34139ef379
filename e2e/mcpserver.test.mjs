// The official SDK, as agent programs embed it, over both doors: it lists the
// tools, posts into a room, and reads what somebody else answers.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { binary, call, serve } from './server.mjs';

const doors = {
  stdio: (server) => new StdioClientTransport({
    command: binary, args: ['mcp', '--server', server.url, '--as', '@claude'], env: { PATH: process.env.PATH, HOME: server.home },
  }),
  'streamable HTTP': (server) => new StreamableHTTPClientTransport(new URL(`${server.url}/mcp?as=@claude`)),
};

/** Makes a room over REST. */
async function room(server, name) {
  const answer = await fetch(`${server.url}/api/sessions`, {
    method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ name, type: 'chat' }),
  });
  assert.equal(answer.status, 201);
  return (await answer.json()).id;
}

/** Somebody else says something. */
async function say(server, id, content) {
  const answer = await fetch(`${server.url}/api/sessions/${id}/messages`, {
    method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ content, sender_id: '@ann' }),
  });
  assert.equal(answer.status, 201);
}

for (const [door, transport] of Object.entries(doors)) {
  test(`a client of the official SDK over ${door}`, async (t) => {
    const server = await serve(t);
    const id = await room(server, 'Kitchen');
    const client = new Client({ name: 'e2e', version: '1' });
    await client.connect(transport(server));
    t.after(() => client.close());
    assert.equal(client.getServerVersion().name, 'anthill');

    const { tools } = await client.listTools();
    for (const name of ['list_rooms', 'read_messages', 'post_message', 'wait_for_messages', 'claim_task', 'ask']) {
      assert.ok(tools.some((tool) => tool.name === name), name);
    }
    const use = async (name, args, ...more) => {
      const result = await client.callTool({ name, arguments: args }, undefined, ...more);
      assert.ok(!result.isError, JSON.stringify(result));
      return result.structuredContent;
    };
    assert.deepEqual((await use('list_rooms', {})).rooms.map((r) => r.name), ['Kitchen']);

    const posted = await use('post_message', { room: 'kitchen', text: 'Who cooks?' });
    assert.equal(posted.room, id);
    const waiting = use('wait_for_messages', { room: 'kitchen', after: posted.id, seconds: 50 });
    await say(server, id, 'I do');
    const { messages } = await waiting;
    assert.deepEqual(messages.map((m) => [m.author, m.text]), [['@ann', 'I do']]);
    const all = await use('read_messages', { room: id });
    assert.deepEqual(all.messages.map((m) => m.text), ['Who cooks?', 'I do']);

    const refused = await client.callTool({ name: 'read_messages', arguments: { room: 'nowhere' } });
    assert.ok(refused.isError && refused.content[0].text.includes('list_rooms'), JSON.stringify(refused));
    await assert.rejects(client.callTool({ name: 'format_disk', arguments: {} }).then((r) => { if (r.isError) throw new Error('refused'); }));

    const told = [];
    const answer = await use('ask', { question: 'What can you do?', conversation: 'c' }, { onprogress: (p) => told.push(p.message) });
    assert.equal(answer.status, 'completed');
    assert.ok(told.length > 0, 'it tells of its progress');
    const conversation = await call(`${server.url}/v1/conversations/c/messages`);
    assert.equal(conversation.messages[1].content, answer.answer);
    await assert.rejects(
      client.callTool({ name: 'wait_for_messages', arguments: { room: id, seconds: 60 } }, undefined, { signal: AbortSignal.timeout(100) }),
    );
    assert.deepEqual((await use('list_conversations', {})).conversations.map((c) => c.id), ['c']);
  });
}

test('cancelling a call of the official SDK stops the turn', async (t) => {
  const server = await serve(t);
  for (const [door, transport] of Object.entries(doors)) {
    const client = new Client({ name: 'e2e', version: '1' });
    await client.connect(transport(server));
    const stop = new AbortController();
    const asked = client.callTool(
      { name: 'ask', arguments: { question: 'run this\n```python\nimport time\ntime.sleep(600)\n```', conversation: `for ever by ${door}`.replaceAll(' ', '-') } },
      undefined,
      { signal: stop.signal, onprogress: ({ message }) => { if (message === 'scratchpad') stop.abort(); } },
    );
    await assert.rejects(asked);
    for (;;) { // the turn ends, and nothing tells of it
      const { in_flight: running } = await call(`${server.url}/v1/responses/in-flight-list`);
      if (running.length === 0) break;
      await new Promise((done) => { setTimeout(done, 20); });
    }
    await client.close();
  }
});
