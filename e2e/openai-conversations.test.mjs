// The unmodified OpenAI SDK: /v1/conversations.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import OpenAI from 'openai';
import { serveWithModel, transcript } from './provider.mjs';

const said = (item) => `${item.role}: ${item.content.map((part) => part.text).join('')}`;

test('a conversation from its first to its last day', async (t) => {
  const { ai } = await serveWithModel(t);
  const made = await ai.conversations.create({ metadata: { topic: 'ferries' }, items: [{ type: 'message', role: 'user', content: 'It leaves at 07:30.' }] });
  assert.equal(made.object, 'conversation');
  assert.ok(Number.isInteger(made.created_at), `created_at ${made.created_at}`);
  assert.deepEqual(made.metadata, { topic: 'ferries' });

  const got = await ai.conversations.retrieve(made.id);
  assert.deepEqual([got.id, got.object, got.created_at, got.metadata], [made.id, 'conversation', made.created_at, { topic: 'ferries' }]);

  const updated = await ai.conversations.update(made.id, { metadata: { topic: 'tents', by: 'me' } });
  assert.deepEqual(updated.metadata, { topic: 'tents', by: 'me' });
  assert.deepEqual((await ai.conversations.retrieve(made.id)).metadata, { topic: 'tents', by: 'me' });

  const items = await ai.conversations.items.list(made.id);
  assert.deepEqual(items.data.map(said), ['user: It leaves at 07:30.']);

  const gone = await ai.conversations.delete(made.id);
  assert.deepEqual([gone.id, gone.object, gone.deleted], [made.id, 'conversation.deleted', true]);
  await assert.rejects(ai.conversations.retrieve(made.id), OpenAI.NotFoundError);
  await assert.rejects(ai.conversations.delete(made.id), OpenAI.NotFoundError);
  await assert.rejects(ai.conversations.items.list(made.id), OpenAI.NotFoundError);
});

test('an empty conversation', async (t) => {
  const { ai } = await serveWithModel(t);
  const made = await ai.conversations.create();
  assert.deepEqual(made.metadata ?? {}, {});
  const items = await ai.conversations.items.list(made.id);
  assert.deepEqual([items.data, items.has_more], [[], false]);
});

test('responses go on in a conversation, named by string or object', async (t) => {
  const { ai, mock, requests } = await serveWithModel(t);
  for (const word of ['one', 'two']) mock.onMessage(word, { content: `answer ${word}` });
  const { id } = await ai.conversations.create({ items: [{ role: 'user', content: 'zero' }, { role: 'assistant', content: 'answer zero' }] });
  const one = await ai.responses.create({ model: 'anton', input: 'one', conversation: id });
  assert.deepEqual(one.conversation, { id });
  const two = await ai.responses.stream({ model: 'anton', input: 'two', conversation: { id } }).finalResponse();
  assert.deepEqual(two.conversation, { id });
  assert.deepEqual(transcript(requests[1]), [
    'user: zero', 'assistant: answer zero', 'user: one', 'assistant: answer one', 'user: two',
  ]);
  const items = await ai.conversations.items.list(id, { order: 'asc' });
  assert.deepEqual(items.data.map(said), [
    'user: zero', 'assistant: answer zero', 'user: one', 'assistant: answer one', 'user: two', 'assistant: answer two',
  ]);
  assert.equal(items.data.find((item) => said(item) === 'assistant: answer one').id, one.output[0].id, 'the same item by the same id');
});

test('items: create, retrieve, delete', async (t) => {
  const { ai, mock, requests } = await serveWithModel(t);
  mock.onMessage('What is the word?', { content: 'Rope.' });
  const { id } = await ai.conversations.create();
  const added = await ai.conversations.items.create(id, {
    items: [
      { type: 'message', role: 'user', content: 'Forget SECRETWORD.' },
      { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'The word is rope.' }] },
    ],
  });
  assert.equal(added.object, 'list');
  assert.deepEqual(added.data.map(said), ['user: Forget SECRETWORD.', 'user: The word is rope.']);
  assert.deepEqual([added.first_id, added.last_id, added.has_more], [added.data[0].id, added.data[1].id, false]);
  const one = await ai.conversations.items.retrieve(added.data[1].id, { conversation_id: id });
  assert.deepEqual(one, added.data[1]);

  const left = await ai.conversations.items.delete(added.data[0].id, { conversation_id: id });
  assert.deepEqual([left.id, left.object], [id, 'conversation']);
  await assert.rejects(ai.conversations.items.retrieve(added.data[0].id, { conversation_id: id }), OpenAI.NotFoundError);
  assert.deepEqual((await ai.conversations.items.list(id)).data.map(said), ['user: The word is rope.']);

  await ai.responses.create({ model: 'anton', input: 'What is the word?', conversation: id });
  assert.ok(!JSON.stringify(requests[0].body).includes('SECRETWORD'), 'a deleted item is not shown to the model');
  assert.match(JSON.stringify(requests[0].body), /The word is rope\./);
});

test('items: an answer that is deleted is not shown to the model', async (t) => {
  const { ai, mock, requests } = await serveWithModel(t);
  for (const word of ['one', 'two']) mock.onMessage(word, { content: `answer ${word}` });
  const { id } = await ai.conversations.create();
  const one = await ai.responses.create({ model: 'anton', input: 'one', conversation: id });
  await ai.conversations.items.delete(one.output[0].id, { conversation_id: id });
  await ai.responses.create({ model: 'anton', input: 'two', conversation: id });
  assert.ok(!JSON.stringify(requests[1].body).includes('answer one'));
});

test('items: order and pages', async (t) => {
  const { ai } = await serveWithModel(t);
  const words = ['a', 'b', 'c', 'd', 'e'];
  const { id } = await ai.conversations.create({ items: words.map((content) => ({ role: 'user', content })) });
  const texts = (items) => items.map((item) => item.content[0].text);
  assert.deepEqual(texts((await ai.conversations.items.list(id)).data), words.toReversed(), 'newest first unless asked otherwise');
  const page = await ai.conversations.items.list(id, { order: 'asc', limit: 2 });
  assert.deepEqual(texts(page.data), ['a', 'b']);
  assert.deepEqual([page.has_more, page.last_id], [true, page.data[1].id]);
  const next = await page.getNextPage();
  assert.deepEqual(texts(next.data), ['c', 'd']);
  for (const order of ['asc', 'desc']) {
    const all = [];
    for await (const item of ai.conversations.items.list(id, { order, limit: 2 })) all.push(item);
    assert.deepEqual(texts(all), order === 'asc' ? words : words.toReversed());
  }
});

test('a function call and its output are items', async (t) => {
  const { ai, mock } = await serveWithModel(t);
  mock.on({ userMessage: 'time', hasToolResult: false }, { toolCalls: [{ id: 'call_t', name: 'clock', arguments: '{}' }] });
  mock.on({ userMessage: 'time', hasToolResult: true }, { content: 'Noon.' });
  const tools = [{ type: 'function', name: 'clock', parameters: { type: 'object', properties: {} }, strict: false }];
  const { id } = await ai.conversations.create();
  const first = await ai.responses.create({ model: 'anton', input: 'time?', conversation: id, tools });
  const call = first.output.find((item) => item.type === 'function_call');
  const second = await ai.responses.create({
    model: 'anton', conversation: id, tools, input: [{ type: 'function_call_output', call_id: call.call_id, output: '12:00' }],
  });
  assert.equal(second.output_text, 'Noon.');
  const items = (await ai.conversations.items.list(id, { order: 'asc' })).data;
  assert.deepEqual(items.map((item) => item.type), ['message', 'function_call', 'function_call_output', 'message']);
  assert.deepEqual([items[1].name, items[1].arguments, items[1].call_id], ['clock', '{}', call.call_id]);
  assert.deepEqual([items[2].call_id, items[2].output], [call.call_id, '12:00']);
});
