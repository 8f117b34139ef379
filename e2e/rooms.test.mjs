// Four clients talk in one room: a WebSocket, a gRPC stream, server-sent events
// and the command line. The server is killed once in the middle. Afterwards the
// transcript is complete and ordered, and each client saw each message once.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import grpc from '@grpc/grpc-js';
import { GrpcReflection } from 'grpc-js-reflection-client';
import WebSocket from 'ws';
import { binary, events, serve } from './server.mjs';

const each = 25; // messages of each client
const again = () => new Promise((done) => { setTimeout(done, 20); }); // between attempts
const until = async (what) => { while (!what()) await again(); };

/** A reader: it notes the messages of the room once each, whatever stream they come on. */
class Client {
  seen = [];
  cursor = 0; // from the beginning on
  done = false;

  constructor(name, server, room) { Object.assign(this, { name, server, room }); }

  note(event) {
    if (event.type === 'build_id') return; // where the server is, not what happened
    if (event.seq !== undefined && event.seq !== 0) {
      assert.ok(event.seq > this.cursor, `${this.name}: ${JSON.stringify(event)} comes after ${this.cursor}`);
      this.cursor = event.seq;
    }
    if (event.type === 'message_created') this.seen.push(event.content);
  }

  /** Follows the room until done, from the cursor on after each break. */
  async follow() {
    while (!this.done) {
      await this.listen().catch((err) => { if (!this.done && err.code === 'ERR_ASSERTION') throw err; });
      if (!this.done) await again();
    }
  }

  /** Says what this client has to say, each thing until it is acknowledged. */
  async talk(said) {
    for (let i = 0; i < each; i += 1) {
      const text = `${this.name} says ${i}`;
      for (;;) {
        try {
          await this.post(text, `${this.name}-${i}`);
          break;
        } catch (err) {
          if (err.refused) throw err;
          await again();
        }
      }
      said();
    }
  }

  async post(content, key) {
    const answer = await fetch(`${this.server.url}/api/sessions/${this.room}/messages`, {
      method: 'POST', headers: { 'Content-Type': 'application/json', 'Idempotency-Key': key },
      body: JSON.stringify({ content, sender_id: this.name, role: 'user' }),
    });
    const text = await answer.text();
    if (answer.status < 500 && answer.status !== 201 && answer.status !== 200) throw Object.assign(new Error(text), { refused: true });
    if (!answer.ok) throw new Error(text);
  }
}

class Socket extends Client {
  listen() {
    return new Promise((done, fail) => {
      const ws = new WebSocket(`${this.server.url.replace('http', 'ws')}/ws`);
      ws.on('open', () => ws.send(JSON.stringify({
        type: 'join_session', sessionId: this.room, handle: this.name, since: this.cursor,
      })));
      ws.on('message', (data) => {
        const event = JSON.parse(data);
        try { this.note(event); } catch (err) { fail(err); }
      });
      ws.on('error', fail);
      ws.on('close', done);
      this.close = () => ws.close();
    });
  }
}

class Stream extends Client {
  async listen() {
    const stop = new AbortController();
    this.close = () => stop.abort();
    const answer = await fetch(`${this.server.url}/api/events?session=${this.room}&since=${this.cursor}`, { signal: stop.signal });
    for await (const { data } of events(answer)) this.note(JSON.parse(data));
  }
}

class Remote extends Client {
  async listen() {
    const service = await clientOf(this.server.address, 'ant.v1.EventsService');
    try {
      const stream = service.Subscribe({ session_ids: [this.room], since: this.cursor });
      this.close = () => stream.cancel();
      for await (const e of stream) {
        if (!e.ready) this.note({ seq: e.seq, type: e.message_created ? 'message_created' : '', content: e.message_created?.content });
      }
    } finally {
      service.close();
    }
  }

  async post(content, key) {
    const service = await clientOf(this.server.address, 'ant.v1.MessagesService');
    try {
      await new Promise((done, fail) => {
        service.PostMessage({ session_id: this.room, content, sender_id: this.name, role: 'user', idempotency_key: key }, (err) => {
          if (!err) done();
          else fail(Object.assign(err, { refused: err.code === grpc.status.INVALID_ARGUMENT || err.code === grpc.status.NOT_FOUND }));
        });
      });
    } finally {
      service.close();
    }
  }
}

async function clientOf(address, name) {
  const reflection = new GrpcReflection(address, grpc.credentials.createInsecure());
  const packages = (await reflection.getDescriptorBySymbol(name)).getPackageObject({ keepCase: true, enums: String, longs: Number });
  const Service = name.split('.').reduce((at, part) => at[part], packages);
  return new Service(address, grpc.credentials.createInsecure());
}

class Terminal extends Client {
  run(...args) {
    const child = spawn(binary, [...args, '--server', this.server.url], {
      env: { PATH: process.env.PATH, HOME: this.server.home }, stdio: ['ignore', 'pipe', 'pipe'],
    });
    let said = '';
    child.stderr.on('data', (data) => { said += data; });
    return { child, ended: new Promise((done) => { child.once('close', (code) => done({ code, said })); }) };
  }

  // The command connects again by itself: it runs once.
  async listen() {
    const { child, ended } = this.run('tail', this.room, '--json', '--since', '0');
    this.close = () => child.kill('SIGINT');
    createInterface({ input: child.stdout }).on('line', (line) => {
      this.note(JSON.parse(line));
    });
    const { said } = await ended;
    if (!this.done) throw new Error(said);
  }

  async post(content, key) {
    const { code, said } = await this.run('post', this.room, content, '--as', this.name, '--key', key).ended;
    if (code !== 0) throw new Error(said);
  }
}

test('four clients in one room, across a kill of the server', async (t) => {
  const server = await serve(t);
  const made = await fetch(`${server.url}/api/sessions`, {
    method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ name: 'Bridge', type: 'chat' }),
  });
  assert.equal(made.status, 201);
  const { id } = await made.json();

  const clients = [new Socket('socket', server, id), new Stream('stream', server, id), new Remote('remote', server, id), new Terminal('terminal', server, id)];
  const following = Promise.all(clients.map((client) => client.follow()));
  const heard = (n) => until(() => clients.every((client) => client.seen.length >= n));
  await clients[0].post('Hello', 'hello');
  await heard(1); // all of them listen

  let said = 0;
  const talking = Promise.all(clients.map((client) => client.talk(() => { said += 1; })));
  await until(() => said >= each);
  await server.crash();
  await talking;

  const all = clients.flatMap(({ name }) => Array.from({ length: each }, (_, i) => `${name} says ${i}`));
  all.push('Hello');
  await heard(all.length);
  for (const client of clients) {
    client.done = true;
    client.close();
  }
  await following;

  const { messages } = await (await fetch(`${server.url}/api/sessions/${id}/messages?limit=1000`)).json();
  const transcript = messages.map((m) => m.content);
  assert.deepEqual([...transcript].sort(), [...all].sort(), 'complete, and nothing twice');
  for (const { name } of clients) {
    assert.deepEqual(transcript.filter((text) => text.startsWith(`${name} `)), all.filter((text) => text.startsWith(`${name} `)), `${name} in its order`);
  }
  for (const client of clients) assert.deepEqual(client.seen, transcript, `${client.name} saw the transcript`);
});
