// A browser's way to a terminal: it joins by WebSocket, the shell starts, what is
// typed arrives in order, and after the server was killed the same shell goes on.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import WebSocket from 'ws';
import { call, serve } from './server.mjs';

/** A viewer of one terminal: it keeps what it was shown. */
class Viewer {
  shown = '';
  #waits = [];

  constructor(server, id) {
    this.ws = new WebSocket(`${server.url.replace('http', 'ws')}/ws`);
    this.id = id;
    this.ws.on('open', () => this.say({ type: 'join_session', spawnPty: true, cols: 100, rows: 30 }));
    this.ws.on('message', (data) => {
      const event = JSON.parse(data);
      if (event.sessionId !== id || event.type !== 'terminal_output') return;
      this.shown += event.data;
      this.#waits = this.#waits.filter((wait) => !wait());
    });
    this.ws.on('error', () => {}); // the server was killed
  }

  say(frame) { this.ws.send(JSON.stringify({ sessionId: this.id, ...frame })); }

  type(data) { this.say({ type: 'terminal_input', data }); }

  /** Waits until it was shown what fits. */
  until(pattern) {
    return new Promise((done) => {
      const wait = () => pattern.test(this.shown) && (done(), true);
      if (!wait()) this.#waits.push(wait);
    });
  }
}

const created = async (server, body) => {
  const answer = await fetch(`${server.url}/api/sessions`, {
    method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body),
  });
  assert.equal(answer.status, 201);
  return answer.json();
};

test('a terminal in a browser', { timeout: 120_000 }, async (t) => {
  const server = await serve(t, { SHELL: '/bin/sh' });
  const { id } = await created(server, { name: 'shell', type: 'terminal' });
  const first = new Viewer(server, id);
  await first.until(/[$#] /);
  for (const c of 'kept=$((6*7)); echo "it is $kept"\r') first.type(c); // one frame for each key
  await first.until(/it is 42\r?\n/);

  await server.crash();
  const second = new Viewer(server, id);
  await second.until(/it is 42/); // the screen as it was
  second.type('echo "still $((kept+1))"\r');
  await second.until(/still 43/);
  second.ws.close();

  const history = await call(`${server.url}/api/sessions/${id}/terminal/history?grep=still%2043`);
  assert.equal(history.mode, 'search');
  assert.ok(history.count > 0);
  await call(`${server.url}/api/sessions/${id}/terminal`, 'DELETE');
});
