// The Codex CLI, as people run it: `codex exec` with this server as its provider
// of models. It reaches nothing else: it looks for updates and the like, but has to
// do without.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { serveWithModel } from './provider.mjs';

const codex = resolve(import.meta.dirname, 'node_modules/.bin/codex');

/** The address of a proxy that lets nothing through. */
async function closedProxy(t) {
  const proxy = createServer((socket) => socket.destroy());
  await new Promise((done) => proxy.listen(0, '127.0.0.1', done));
  t.after(() => new Promise((done) => proxy.close(done)));
  return `http://127.0.0.1:${proxy.address().port}`;
}

async function setup(t) {
  const server = await serveWithModel(t, 'openai-compatible', { ANT_API_KEY: 'key-for-codex' });
  const root = await mkdtemp(join(tmpdir(), 'anthill-codex-'));
  t.after(() => rm(root, { recursive: true, force: true }));
  const work = join(root, 'work');
  const home = join(root, 'home');
  await mkdir(work);
  await mkdir(home);
  await writeFile(join(home, 'config.toml'), `
model = "anton"
model_provider = "anthill"
check_for_update_on_startup = false
[analytics]
enabled = false
[model_providers.anthill]
name = "anthill"
base_url = "${server.url}/v1"
wire_api = "responses"
env_key = "ANTHILL_KEY"
`);
  const proxy = await closedProxy(t);
  const run = async (...args) => {
    const child = spawn(codex, ['exec', ...args], {
      cwd: work, stdio: ['ignore', 'pipe', 'pipe'],
      env: { PATH: process.env.PATH, HOME: root, CODEX_HOME: home, ANTHILL_KEY: 'key-for-codex', HTTPS_PROXY: proxy, HTTP_PROXY: proxy, NO_PROXY: '127.0.0.1' },
    });
    const [out, err, code] = await Promise.all([text(child.stdout), text(child.stderr), new Promise((done) => child.once('exit', done))]);
    return { code, err, events: out.trim().split('\n').map((line) => JSON.parse(line)) };
  };
  const exec = async (...args) => {
    const { code, err, events } = await run(...args);
    assert.equal(code, 0, `codex exec:\n${err}\n${JSON.stringify(events)}`);
    return events.filter((e) => e.type === 'item.completed').map((e) => e.item);
  };
  return { ...server, work, run, exec };
}

const options = ['--skip-git-repo-check', '--dangerously-bypass-approvals-and-sandbox', '--json'];

test('codex exec runs a command that the model asks for', async (t) => {
  const { mock, work, exec, url, requests } = await setup(t);
  mock.on({ userMessage: 'make the file', hasToolResult: false }, {
    toolCalls: [{ id: 'call_c', name: 'exec_command', arguments: JSON.stringify({ cmd: 'echo from-the-shell > made.txt && cat made.txt' }) }],
  });
  mock.on({ userMessage: 'make the file', hasToolResult: true }, { content: 'The file is made.' });
  const items = await exec(...options, 'make the file');
  const command = items.find((item) => item.type === 'command_execution');
  assert.deepEqual([command?.exit_code, command?.aggregated_output], [0, 'from-the-shell\n'], JSON.stringify(items));
  assert.equal(items.findLast((item) => item.type === 'agent_message').text, 'The file is made.');
  assert.equal(await readFile(join(work, 'made.txt'), 'utf8'), 'from-the-shell\n');

  assert.equal(requests.length, 2, 'nothing was tried twice');
  assert.match(JSON.stringify(requests[1].body), /from-the-shell/);
  const names = requests[0].body.tools.map((x) => x.function.name);
  assert.ok(names.includes('exec_command') && !names.includes('multi_agent_v1') && !names.includes('web_search'), `offered ${names}`);
  const { conversations } = await (await fetch(`${url}/v1/conversations?project=all`, { headers: { Authorization: 'Bearer key-for-codex' } })).json();
  assert.deepEqual(conversations, [], 'codex stores nothing');
});

test('codex exec resume goes on where it was', async (t) => {
  const { mock, exec, requests } = await setup(t);
  mock.onMessage('first question', { content: 'First answer.', reasoning: 'Think about it.' });
  mock.onMessage('second question', { content: 'Second answer.' });
  await exec(...options, 'first question');
  const items = await exec('resume', '--last', ...options, 'second question');
  assert.equal(items.findLast((item) => item.type === 'agent_message').text, 'Second answer.');
  assert.match(JSON.stringify(requests.at(-1).body), /first question.*First answer\..*second question/);
});

for (const [why, { pattern, ...error }] of Object.entries({
  'the key is wrong': { status: 401, code: 'invalid_api_key', pattern: /refused the API key/ },
  'the model is unknown': { status: 404, code: 'model_not_found', pattern: /does not know the model/ },
  'the quota is used up': { status: 429, code: 'insufficient_quota', pattern: /quota/i },
  'the context is full': { status: 400, code: 'context_length_exceeded', pattern: /context/ },
})) {
  test(`codex exec tells that ${why}, and does not try again`, async (t) => {
    const { mock, run, requests } = await setup(t);
    mock.onMessage('hello', { error: { message: 'provider says no', code: error.code }, status: error.status });
    const { code, events } = await run(...options, 'hello');
    assert.notEqual(code, 0);
    const failed = events.find((e) => e.type === 'turn.failed');
    assert.match(failed?.error.message ?? JSON.stringify(events), pattern);
    assert.equal(requests.length, 1);
  });
}
