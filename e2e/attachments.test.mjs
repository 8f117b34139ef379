// Files of real formats, brought through every door, and what a model gets of them.
import assert from 'node:assert/strict';
import { access } from 'node:fs/promises';
import { test } from 'node:test';
import grpc from '@grpc/grpc-js';
import { GrpcReflection } from 'grpc-js-reflection-client';
import { docx, pdf, png, xlsx } from './fixtures/documents.mjs';
import { exchange, paired, protocols, script, serveWithModel } from './provider.mjs';
import { call } from './server.mjs';

const conversation = '20260501_120000_abc123'; // as the desktop client makes them before the first message

const picture = png();

/** By name: the file, and what a model reads of it. */
const files = {
  'tides.pdf': { data: pdf(['Tide table of Größe 日本', 'High water at 12:40 (5.3 m) 🌊']), says: ['Tide table of Größe 日本', 'High water at 12:40 (5.3 m) 🌊'] },
  'letter.docx': {
    data: docx({ title: 'The ferry', paragraphs: ['It leaves Piräus at 07:30 & returns at night.'], table: [['Port', 'Hour'], ['Naxos', '11:45']] }),
    says: ['The ferry', 'It leaves Piräus at 07:30 & returns at night.', 'Naxos', '11:45'],
  },
  'fares.xlsx': {
    data: xlsx('Fares', [['Ticket', 'Price', 'From'], ['Deck <2', 42.5, new Date('2026-05-01')], ['Both ways', { formula: 'B2*2', value: 85 }]]),
    says: ['Fares', 'Ticket', 'Deck <2', '42.5', '2026-05-01', 'Both ways', '85'],
  },
  'ports.csv': { data: Buffer.from('\ufeffport;hour\r\n"Naxos; Chora";11:45\r\nÍos;13:05\r\n'), says: ['"Naxos; Chora";11:45', 'Íos;13:05'] },
  'harbour.png': { data: picture, says: [] },
};

/** A form with files, and fields behind them. */
function form(list, fields = {}) {
  const body = new FormData();
  for (const [name, data] of list) body.append('files', new Blob([data]), name);
  for (const [name, value] of Object.entries(fields)) body.append(name, value);
  return body;
}

/** The client of a service that it learns by reflection. */
async function client(t, address, service) {
  const reflection = new GrpcReflection(address, grpc.credentials.createInsecure());
  const packages = (await reflection.getDescriptorBySymbol(service)).getPackageObject({ keepCase: true, enums: String, longs: Number });
  const Client = service.split('.').reduce((at, name) => at[name], packages);
  const made = new Client(address, grpc.credentials.createInsecure());
  t.after(() => made.close());
  return made;
}

const rpc = (service, method, request) => new Promise((done, fail) => {
  service[method](request, (err, answer) => (err ? fail(err) : done(answer)));
});

const attachmentsOf = (query) => async ({ url }) => call(`${url}/v1/attachments${query}`);
const inConversation = `/general/${conversation}`;

/** The ways in: how to upload {name, data} pairs, list them, and delete one. */
const doors = {
  'the desktop client': {
    upload: ({ url }, list) => call(`${url}/v1/attachments${inConversation}/upload`, 'POST', form(list)),
    list: attachmentsOf(inConversation),
    remove: ({ url }, { id }) => call(`${url}/v1/attachments${inConversation}/${id}`, 'DELETE'),
  },
  'the published page': {
    upload: ({ url }, list) => call(`${url}/v1/attachments/upload`, 'POST', form(list, { project: 'general', session_id: conversation })),
    list: attachmentsOf(`?project=general&session_id=${conversation}`),
    remove: ({ url }, { id }) => call(`${url}/v1/attachments/${id}`, 'DELETE'),
  },
  'the published page, for a conversation that has no id yet': {
    upload: ({ url }, list) => call(`${url}/v1/attachments/upload`, 'POST', form(list)),
    list: attachmentsOf(''),
    remove: ({ url }, { id }) => call(`${url}/v1/attachments/${id}`, 'DELETE'),
  },
  gRPC: {
    upload: async ({ attachments }, list) => {
      let stream;
      const answer = new Promise((done, fail) => {
        stream = attachments.UploadAttachments((err, value) => (err ? fail(err) : done(value.attachments)));
      });
      for (const [name, data] of list) {
        stream.write({ header: { project: 'general', session_id: conversation, name } });
        for (let at = 0; at < data.length; at += 500) stream.write({ data: data.subarray(at, at + 500) });
      }
      stream.end();
      return answer;
    },
    list: async ({ attachments }) => (await rpc(attachments, 'ListAttachments', { project: 'general', session_id: conversation })).attachments ?? [],
    remove: ({ attachments }, { id }) => rpc(attachments, 'DeleteAttachment', { id }),
  },
};

/** What a model is shown of a file: some protocols join the texts of a message. */
function shown(said, file) {
  const text = said.map((part) => part.text ?? '').join('\n');
  const from = text.indexOf(`<file name="${file}"`);
  return from < 0 ? '' : text.slice(from, text.indexOf('</file>', from));
}

/** Asks for the list until nothing in it is being read any more. */
async function settled(door, server) {
  for (;;) {
    const list = await door.list(server);
    if (!list.some((a) => a.status === 'processing')) return list;
  }
}

const gone = (path) => access(path).then(() => false, (err) => err.code === 'ENOENT');

const setup = async (t, protocol) => {
  const server = await serveWithModel(t, protocol);
  return { ...server, attachments: await client(t, server.address, 'anton.v1.AttachmentsService') };
};

const ask = ({ url }, input, ids) => call(`${url}/v1/responses`, 'POST', { input, conversation, stream: false, attachment_ids: ids });

Object.entries(doors).forEach(([name, door], i) => {
  const protocol = Object.keys(protocols)[i % 3];
  test(`${name}: files become ready and reach the model (${protocol})`, async (t) => {
    const server = await setup(t, protocol);
    const list = Object.entries(files).map(([file, { data }]) => [file, data]);
    const uploaded = await door.upload(server, list);
    assert.deepEqual(uploaded.map((a) => [a.name, a.size]), list.map(([file, data]) => [file, data.length]));
    assert.ok(uploaded.every((a) => ['processing', 'ready'].includes(a.status)), JSON.stringify(uploaded));
    const ready = await settled(door, server);
    assert.deepEqual(ready.map((a) => [a.name, a.status, a.reason ?? '']), list.map(([file]) => [file, 'ready', '']).reverse(), 'newest first');
    assert.deepEqual(ready.map((a) => a.mime.split('/').at(-1)).reverse(), ['pdf', 'vnd.openxmlformats-officedocument.wordprocessingml.document',
      'vnd.openxmlformats-officedocument.spreadsheetml.sheet', 'csv', 'png']);

    script(server, { content: 'I have read them.' }, { content: 'At 12:40.' });
    const answer = await ask(server, 'Read these.', uploaded.map((a) => a.id));
    assert.equal(answer.status, 'completed');
    const said = exchange(server.requests[0]);
    assert.ok(said.every((part) => part.role === 'user'), JSON.stringify(said));
    assert.equal(said[0].text, 'Read these.');
    for (const [file, { says }] of Object.entries(files)) {
      for (const words of says) assert.ok(shown(said, file).includes(words), `${file} says ${words}: ${shown(said, file)}`);
    }
    const images = said.filter((part) => part.image);
    assert.equal(images.length, 1);
    assert.ok(images[0].image.endsWith(picture.toString('base64')), 'the picture is sent as it is');
    const journal = JSON.stringify(server.mock.getRequests()[0].body.messages);
    for (const { says } of Object.values(files)) for (const words of says) assert.ok(journal.includes(JSON.stringify(words).slice(1, -1)), `${words} in aimock's journal`);

    const { messages } = await call(`${server.url}/v1/conversations/${conversation}/messages`);
    assert.equal(messages[0].content, 'Read these.', 'people see what they wrote');
    await ask(server, 'When is high water?');
    const later = paired(server.requests[1]);
    assert.deepEqual(later.slice(0, said.length), said, 'the next turn has the files as well');
    assert.deepEqual(later.slice(said.length), [{ role: 'assistant', text: 'I have read them.' }, { role: 'user', text: 'When is high water?' }]);

    for (const attachment of ready) {
      assert.equal((await door.remove(server, attachment)).ok, true);
      for (const path of [attachment.path, attachment.text_path]) assert.ok(!path || await gone(path), `${path} is still there`);
    }
    assert.deepEqual(await door.list(server), []);
    await assert.rejects(ask(server, 'Read it again.', [uploaded[0].id]), /404.*Attachment not found/);
  });

  test(`${name}: a PDF that is broken has failed, and says why (${protocol})`, async (t) => {
    const server = await setup(t, protocol);
    const { data } = files['tides.pdf'];
    const uploaded = await door.upload(server, [['cut.pdf', data.subarray(0, data.length / 2)], ['whole.pdf', data]]);
    const [whole, cut] = await settled(door, server);
    assert.deepEqual([whole.status, cut.status, cut.name], ['ready', 'failed', 'cut.pdf']);
    assert.match(cut.reason, /damaged/);
    script(server, { content: 'One of them is damaged.' });
    await ask(server, 'Read both.', uploaded.map((a) => a.id));
    const said = exchange(server.requests[0]);
    assert.match(shown(said, 'cut.pdf'), /damaged/);
    assert.match(shown(said, 'whole.pdf'), /High water/);
  });
});
