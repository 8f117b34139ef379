// The unmodified OpenAI SDK: images, documents and structured output reach the model.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import OpenAI from 'openai';
import { zodTextFormat } from 'openai/helpers/zod';
import { z } from 'zod';
import { png, serveWithModel } from './provider.mjs';

const base64 = png.split(',')[1];

const ask = (...content) => ({ model: 'anton', input: [{ role: 'user', content: [{ type: 'input_text', text: 'look' }, ...content] }] });

for (const [protocol, find] of Object.entries({
  'openai-compatible': (body) => body.messages.at(-1).content.find((p) => p.type === 'image_url').image_url.url,
  openai: (body) => body.input.at(-1).content.find((p) => p.type === 'input_image').image_url,
  anthropic: (body) => {
    const { source } = body.messages.at(-1).content.find((p) => p.type === 'image');
    return source.type === 'url' ? source.url : `data:${source.media_type};${source.type},${source.data}`;
  },
})) {
  test(`an image reaches the provider: ${protocol}`, async (t) => {
    const { ai, mock, requests } = await serveWithModel(t, protocol);
    mock.onMessage('look', { content: 'A red dot.' });
    const answer = await ai.responses.create(ask({ type: 'input_image', image_url: png, detail: 'low' }));
    assert.equal(answer.output_text, 'A red dot.');
    assert.equal(find(requests[0].body), png);

    await ai.responses.create(ask({ type: 'input_image', image_url: 'https://images.example/dot.png', detail: 'auto' }));
    assert.equal(find(requests[1].body), 'https://images.example/dot.png', 'the provider fetches it, not the server');

    await ai.responses.create({ model: 'anton', input: 'look again', previous_response_id: answer.id });
    assert.ok(JSON.stringify(requests[2].body).includes(base64), 'the image is there in the next turn, too');
    const [item] = (await ai.responses.inputItems.list(answer.id)).data;
    assert.equal(item.content.find((p) => p.type === 'input_image').image_url, png);
  });
}

test('a text file reaches the provider', async (t) => {
  const { ai, mock, requests } = await serveWithModel(t);
  mock.onMessage('look', { content: 'At 07:30.' });
  const data = Buffer.from('The ferry leaves at 07:30.').toString('base64');
  const answer = await ai.responses.create(ask({ type: 'input_file', filename: 'notes.txt', file_data: `data:text/plain;base64,${data}` }));
  assert.equal(answer.output_text, 'At 07:30.');
  const sent = JSON.stringify(requests[0].body);
  assert.ok(sent.includes('The ferry leaves at 07:30.'), 'its text');
  assert.ok(sent.includes('notes.txt'), 'its name');
});

const pdf = Buffer.from('%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj 2 0 obj<</Type/Pages/Kids[]/Count 0>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n').toString('base64');

for (const protocol of ['openai-compatible', 'openai', 'anthropic']) {
  test(`a PDF reaches the provider: ${protocol}`, async (t) => {
    const { ai, mock, requests } = await serveWithModel(t, protocol);
    mock.onMessage('look', { content: 'Nothing in it.' });
    await ai.responses.create(ask({ type: 'input_file', filename: 'empty.pdf', file_data: `data:application/pdf;base64,${pdf}` }));
    assert.ok(JSON.stringify(requests[0].body).includes(pdf));
  });
}

for (const [name, part] of Object.entries({
  'an image in a file of the server': { type: 'input_image', image_url: 'file:///etc/passwd', detail: 'auto' },
  'an image that is not base64': { type: 'input_image', image_url: 'data:image/png;base64,@@@@', detail: 'auto' },
  'an image that is a web page': { type: 'input_image', image_url: `data:image/png;base64,${Buffer.from('<html>no</html>').toString('base64')}`, detail: 'auto' },
  'an image by the id of an upload': { type: 'input_image', file_id: 'file-1', detail: 'auto' },
  'a file by the id of an upload': { type: 'input_file', file_id: 'file-1' },
  'a file without data': { type: 'input_file', filename: 'x.txt' },
  sound: { type: 'input_audio', input_audio: { data: base64, format: 'wav' } },
})) {
  test(`refused, not ignored: ${name}`, async (t) => {
    const { ai, mock, requests } = await serveWithModel(t);
    mock.onMessage('look', { content: 'I saw nothing.' });
    await assert.rejects(ai.responses.create(ask(part)), (e) => e instanceof OpenAI.BadRequestError || e instanceof OpenAI.UnprocessableEntityError);
    assert.equal(requests.length, 0, 'the model was not asked');
  });
}

const schema = z.object({ city: z.string(), degrees: z.number() });

for (const [protocol, find] of Object.entries({
  'openai-compatible': (body) => body.response_format.json_schema,
  openai: (body) => body.text.format,
})) {
  test(`structured output: ${protocol}`, async (t) => {
    const { ai, mock, requests } = await serveWithModel(t, protocol);
    mock.onMessage('look', { content: '{"city":"Naxos","degrees":31}' });
    const parsed = await ai.responses.parse({ ...ask(), text: { format: zodTextFormat(schema, 'weather') } });
    assert.deepEqual(parsed.output_parsed, { city: 'Naxos', degrees: 31 });
    const sent = find(requests[0].body);
    assert.deepEqual([sent.name, sent.strict, Object.keys(sent.schema.properties)], ['weather', true, ['city', 'degrees']]);
    assert.deepEqual([parsed.text.format.type, parsed.text.format.name], ['json_schema', 'weather']);
  });
}

test('structured output: anthropic', async (t) => {
  const { ai, mock, requests } = await serveWithModel(t, 'anthropic');
  mock.onMessage('look', { content: '{"city":"Naxos","degrees":31}' });
  const parsed = await ai.responses.parse({ ...ask(), text: { format: zodTextFormat(schema, 'weather') } });
  assert.deepEqual(parsed.output_parsed, { city: 'Naxos', degrees: 31 });
  assert.ok(JSON.stringify(requests[0].body).includes('"degrees"'), 'the schema is in the request');
});

test('structured output in a stream', async (t) => {
  const { ai, mock } = await serveWithModel(t);
  mock.onMessage('look', { content: '{"city":"Naxos","degrees":31}' }, { chunkSize: 3 });
  const final = await ai.responses.stream({ ...ask(), text: { format: zodTextFormat(schema, 'weather') } }).finalResponse();
  assert.deepEqual(final.output_parsed, { city: 'Naxos', degrees: 31 });
});

test('any JSON object', async (t) => {
  const { ai, mock, requests } = await serveWithModel(t);
  mock.onMessage('look', { content: '{"a":1}' });
  const answer = await ai.responses.create({ ...ask(), text: { format: { type: 'json_object' } } });
  assert.equal(answer.output_text, '{"a":1}');
  assert.deepEqual(requests[0].body.response_format, { type: 'json_object' });
});
