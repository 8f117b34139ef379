// The unmodified OpenAI SDK: responses that are stored, run in the background, or are not stored.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import OpenAI from 'openai';
import { hold, serveWithModel } from './provider.mjs';
import { filesWith } from './server.mjs';

async function collect(stream) {
  const events = [];
  for await (const event of stream) events.push(event);
  return events;
}

/** Asks for a response until its status is not one of those that pass. */
async function settled(ai, id) {
  for (;;) {
    const response = await ai.responses.retrieve(id);
    if (response.status !== 'queued' && response.status !== 'in_progress') return response;
  }
}

test('retrieve gives what create gave', async (t) => {
  const { ai, mock } = await serveWithModel(t);
  mock.onMessage('hello', { content: 'Good morning.' });
  const { _request_id: first, ...created } = await ai.responses.create({ model: 'anton', input: 'hello', instructions: 'Be kind.', metadata: { a: 'b' } });
  const { _request_id: second, ...retrieved } = await ai.responses.retrieve(created.id);
  assert.deepEqual(retrieved, created);
  assert.notEqual(first, second);
});

test('retrieve with stream replays the events, starting_after only the later ones', async (t) => {
  const { ai, mock } = await serveWithModel(t);
  mock.onMessage('hello', { content: 'Good morning from the model.' }, { chunkSize: 4 });
  const live = await collect(await ai.responses.create({ model: 'anton', input: 'hello', stream: true }));
  const { id } = live[0].response;
  const replayed = await collect(await ai.responses.retrieve(id, { stream: true }));
  assert.deepEqual(replayed, live);
  const from = live[Math.floor(live.length / 2)].sequence_number;
  const later = await collect(await ai.responses.retrieve(id, { stream: true, starting_after: from }));
  assert.deepEqual(later, live.filter((e) => e.sequence_number > from));
});

test('the stream helper takes up a stored response by its id', async (t) => {
  const { ai, mock } = await serveWithModel(t);
  mock.onMessage('hello', { content: 'Good morning from the model.' });
  const created = await ai.responses.create({ model: 'anton', input: 'hello' });
  const whole = await ai.responses.stream({ response_id: created.id }).finalResponse();
  assert.equal(whole.output_text, 'Good morning from the model.');
  const stream = ai.responses.stream({ response_id: created.id, starting_after: 1 });
  let least = Infinity;
  stream.on('event', (e) => { least = Math.min(least, e.sequence_number); });
  assert.equal((await stream.finalResponse()).output_text, 'Good morning from the model.');
  assert.ok(least > 1, `events after ${least} were handed on`);
});

test('background: an answer at once, the result by polling', async (t) => {
  const { ai, mock, provider } = await serveWithModel(t);
  mock.onMessage('hello', { content: 'Worked on it.' });
  const held = hold(provider);
  const begun = await ai.responses.create({ model: 'anton', input: 'hello', background: true });
  assert.ok(['queued', 'in_progress'].includes(begun.status), begun.status);
  assert.equal(begun.background, true);
  await held.asked;
  assert.ok(['queued', 'in_progress'].includes((await ai.responses.retrieve(begun.id)).status));
  held.release();
  const done = await settled(ai, begun.id);
  assert.equal(done.status, 'completed');
  assert.equal(done.output_text, 'Worked on it.');
});

for (const background of [true, false]) {
  test(`left in the middle and taken up again${background ? ', in the background' : ''}`, async (t) => {
    const { ai, mock, provider, requests } = await serveWithModel(t);
    mock.onMessage('hello', { content: 'Worked on it for long.' }, { chunkSize: 3 });
    const held = hold(provider);
    const stream = await ai.responses.create({ model: 'anton', input: 'hello', background, stream: true });
    const seen = [];
    for await (const event of stream) {
      seen.push(event);
      break; // hangs up
    }
    await held.asked;
    held.release();
    const { id } = seen[0].response;
    const rest = await collect(await ai.responses.retrieve(id, { stream: true, starting_after: seen.at(-1).sequence_number }));
    assert.equal(rest.at(-1).type, 'response.completed');
    assert.equal(rest.at(-1).response.output[0].content[0].text, 'Worked on it for long.');
    assert.deepEqual([...seen, ...rest], await collect(await ai.responses.retrieve(id, { stream: true })));
    assert.equal(requests.length, 1);
  });
}

test('cancel stops a response in the background, and may be said twice', async (t) => {
  const { ai, mock, provider } = await serveWithModel(t);
  mock.onMessage('hello', { content: 'Never said.' });
  mock.onMessage('again', { content: 'Here again.' });
  const held = hold(provider);
  const begun = await ai.responses.create({ model: 'anton', input: 'hello', background: true });
  await held.asked;
  const cancelled = await ai.responses.cancel(begun.id);
  assert.equal(cancelled.status, 'cancelled');
  await held.gone;
  assert.equal((await ai.responses.cancel(begun.id)).status, 'cancelled');
  const stored = await ai.responses.retrieve(begun.id);
  assert.equal(stored.status, 'cancelled');
  assert.equal(stored.output_text, '');
  const events = await collect(await ai.responses.retrieve(begun.id, { stream: true }));
  assert.equal(events.at(-1).type, 'response.incomplete');
  const next = await ai.responses.create({ model: 'anton', input: 'again', previous_response_id: begun.id });
  assert.equal(next.output_text, 'Here again.');
});

test('delete stops a response that runs', async (t) => {
  const { ai, mock, provider } = await serveWithModel(t);
  mock.onMessage('hello', { content: 'Never said.' });
  const held = hold(provider);
  const begun = await ai.responses.create({ model: 'anton', input: 'hello', background: true });
  await held.asked;
  await ai.responses.delete(begun.id);
  await held.gone;
  await assert.rejects(ai.responses.retrieve(begun.id), OpenAI.NotFoundError);
});

test('store: false leaves nothing behind', async (t) => {
  const { ai, mock, url, home, stop } = await serveWithModel(t);
  mock.onMessage('STORED-QUESTION', { content: 'STORED-ANSWER' });
  mock.onMessage('FLEETING-QUESTION', { content: 'FLEETING-ANSWER' });
  const stored = await ai.responses.create({ model: 'anton', input: 'STORED-QUESTION' });
  const whole = await ai.responses.create({ model: 'anton', input: 'FLEETING-QUESTION', store: false });
  assert.equal(whole.output_text, 'FLEETING-ANSWER');
  assert.equal(whole.store, false);
  const streamed = await ai.responses.stream({ model: 'anton', input: 'FLEETING-QUESTION', store: false }).finalResponse();
  assert.equal(streamed.output_text, 'FLEETING-ANSWER');
  for (const id of [whole.id, streamed.id]) {
    await assert.rejects(ai.responses.retrieve(id), OpenAI.NotFoundError);
    await assert.rejects(ai.responses.inputItems.list(id), OpenAI.NotFoundError);
    await assert.rejects(ai.responses.create({ model: 'anton', input: 'more', previous_response_id: id }), OpenAI.APIError);
  }
  const { conversations } = await (await fetch(`${url}/v1/conversations?project=all`)).json();
  assert.equal(conversations.length, 1, 'only the stored one is listed');
  assert.ok(await ai.responses.retrieve(stored.id));
  await stop();
  assert.notDeepEqual(await filesWith(join(home, 'data'), 'STORED-ANSWER'), [], 'this is where it would be');
  for (const word of ['FLEETING-QUESTION', 'FLEETING-ANSWER']) assert.deepEqual(await filesWith(home, word), []);
});
