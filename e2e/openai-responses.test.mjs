// The unmodified OpenAI SDK: /v1/responses.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import OpenAI from 'openai';
import { serveWithModel, transcript } from './provider.mjs';

const terminal = ['response.completed', 'response.incomplete', 'response.failed'];

async function collect(stream) {
  const events = [];
  for await (const event of stream) events.push(event);
  return events;
}

/** What holds of every stream: numbered upwards, created first, one terminal event, last. */
function checkStream(events) {
  const types = events.map((e) => e.type);
  assert.equal(types[0], 'response.created');
  assert.deepEqual(types.filter((type) => terminal.includes(type)), [types.at(-1)], `terminal events of ${types}`);
  const numbers = events.map((e) => e.sequence_number);
  assert.ok(numbers.every((n, i) => Number.isInteger(n) && (i === 0 || n > numbers[i - 1])), `sequence numbers ${numbers}`);
  return events.at(-1).response;
}

const weather = {
  type: 'function', name: 'get_weather', description: 'The weather of a city.', strict: true,
  parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'], additionalProperties: false },
};

/** Scripts the model to ask for the weather and to answer with it. */
function scriptWeather(mock) {
  mock.on({ userMessage: 'weather', hasToolResult: false }, {
    toolCalls: [{ id: 'call_w', name: 'get_weather', arguments: '{"city":"Naxos"}' }],
  });
  mock.on({ userMessage: 'weather', hasToolResult: true }, { content: 'Sunny in Naxos, 31 degrees.' });
}

test('create with stream', async (t) => {
  const { ai, mock } = await serveWithModel(t);
  mock.onMessage('hello', { content: 'Good morning from the model.' }, { chunkSize: 5 });
  const events = await collect(await ai.responses.create({ model: 'anton', input: 'hello', stream: true }));
  const response = checkStream(events);
  assert.equal(response.status, 'completed');
  const text = events.filter((e) => e.type === 'response.output_text.delta').map((e) => e.delta).join('');
  assert.equal(text, 'Good morning from the model.');
  assert.equal(events.find((e) => e.type === 'response.output_text.done').text, text);
  assert.deepEqual(response.output.map((item) => item.type), ['message']);
  assert.equal(response.output[0].content[0].text, text);
});

test('the stream helper and its final response', async (t) => {
  const { ai, mock } = await serveWithModel(t);
  mock.onMessage('hello', { content: 'Good morning from the model.' }, { chunkSize: 4 });
  const stream = ai.responses.stream({ model: 'anton', input: 'hello' });
  let snapshot = '';
  stream.on('response.output_text.delta', (e) => { snapshot = e.snapshot; });
  const final = await stream.finalResponse();
  assert.equal(final.status, 'completed');
  assert.equal(final.output_text, 'Good morning from the model.');
  assert.equal(snapshot, final.output_text);
});

test('one JSON answer, without saying stream', async (t) => {
  const { ai, mock } = await serveWithModel(t);
  mock.onMessage('hello', { content: 'Good morning.', usage: { prompt_tokens: 21, completion_tokens: 4, total_tokens: 25 } });
  const answer = await ai.responses.create({ model: 'anton', input: 'hello' });
  assert.equal(answer.object, 'response');
  assert.equal(answer.status, 'completed');
  assert.equal(answer.output_text, 'Good morning.');
  assert.ok(Number.isInteger(answer.created_at), `created_at ${answer.created_at}`);
  assert.equal(answer.error, null);
  assert.deepEqual([answer.usage.input_tokens, answer.usage.output_tokens, answer.usage.total_tokens], [21, 4, 25]);
  assert.ok(answer._request_id, 'x-request-id');
});

test('a tool of the server shows as an mcp_call and the file reaches the model', async (t) => {
  const { ai, mock, url, requests } = await serveWithModel(t);
  mock.on({ userMessage: 'ferry', hasToolResult: false }, {
    toolCalls: [{ name: 'read_file', arguments: JSON.stringify({ path: 'notes.md' }) }],
  });
  mock.on({ userMessage: 'ferry', hasToolResult: true }, { content: 'It leaves at 07:30.' });
  const put = await fetch(`${url}/v1/projects/general/files/notes.md`, {
    method: 'PUT', headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ content: 'The ferry leaves at 07:30.' }),
  });
  assert.equal(put.status, 200);
  const final = await ai.responses.stream({ model: 'anton', input: 'When does the ferry leave?' }).finalResponse();
  const call = final.output.find((item) => item.type === 'mcp_call');
  assert.equal(call.name, 'read_file');
  assert.match(call.output, /07:30/);
  assert.equal(final.output_text, 'It leaves at 07:30.');
  assert.ok(JSON.stringify(requests.at(-1).body).includes('The ferry leaves at 07:30.'), 'the tool result is in the request to the model');
});

test('a function of the client: stream, then its output with previous_response_id', async (t) => {
  const { ai, mock, requests } = await serveWithModel(t);
  scriptWeather(mock);
  const first = await ai.responses.stream({ model: 'anton', input: 'weather?', tools: [weather] }).finalResponse();
  const calls = first.output.filter((item) => item.type === 'function_call');
  assert.equal(calls.length, 1);
  assert.equal(first.status, 'completed');
  assert.equal(calls[0].name, 'get_weather');
  assert.equal(calls[0].arguments, '{"city":"Naxos"}');
  assert.equal(calls[0].status, 'completed');
  const offered = requests[0].body.tools.find((x) => x.function.name === 'get_weather').function;
  assert.deepEqual(offered.parameters, weather.parameters);
  assert.equal(offered.description, weather.description);
  assert.equal(requests.length, 1, 'the turn ends with the call');

  const second = await ai.responses.stream({
    model: 'anton', previous_response_id: first.id, tools: [weather],
    input: [{ type: 'function_call_output', call_id: calls[0].call_id, output: 'sunny, 31' }],
  }).finalResponse();
  assert.equal(second.output_text, 'Sunny in Naxos, 31 degrees.');
  assert.equal(second.previous_response_id, first.id);
  assert.deepEqual(transcript(requests[1]), [
    'user: weather?',
    `assistant:  call ${calls[0].call_id} get_weather({"city":"Naxos"})`,
    `result ${calls[0].call_id}: sunny, 31`,
  ]);
});

test('a function of the client: the events of its call', async (t) => {
  const { ai, mock } = await serveWithModel(t);
  scriptWeather(mock);
  const events = await collect(await ai.responses.create({ model: 'anton', input: 'weather?', tools: [weather], stream: true }));
  const response = checkStream(events);
  const of = events.filter((e) => e.item_id === response.output[0].id || e.item?.id === response.output[0].id);
  assert.equal(of[0].type, 'response.output_item.added');
  assert.equal(of[0].item.arguments, '');
  assert.equal(of.filter((e) => e.type === 'response.function_call_arguments.delta').map((e) => e.delta).join(''), '{"city":"Naxos"}');
  const done = of.find((e) => e.type === 'response.function_call_arguments.done');
  assert.deepEqual([done.name, done.arguments], ['get_weather', '{"city":"Naxos"}']);
  assert.equal(of.at(-1).type, 'response.output_item.done');
});

test('a function of the client: JSON, with the whole input sent again', async (t) => {
  const { ai, mock, requests } = await serveWithModel(t);
  scriptWeather(mock);
  const input = [{ role: 'user', content: 'weather?' }];
  const first = await ai.responses.create({ model: 'anton', input, tools: [weather] });
  const call = first.output.find((item) => item.type === 'function_call');
  const second = await ai.responses.create({
    model: 'anton', tools: [weather],
    input: [...input, ...first.output, { type: 'function_call_output', call_id: call.call_id, output: 'sunny, 31' }],
  });
  assert.equal(second.output_text, 'Sunny in Naxos, 31 degrees.');
  assert.deepEqual(transcript(requests[1]), [
    'user: weather?',
    `assistant:  call ${call.call_id} get_weather({"city":"Naxos"})`,
    `result ${call.call_id}: sunny, 31`,
  ]);
});

test('several calls in one answer', async (t) => {
  const { ai, mock, requests } = await serveWithModel(t);
  mock.on({ userMessage: 'weather', hasToolResult: false }, {
    toolCalls: [{ id: 'call_1', name: 'get_weather', arguments: '{"city":"Naxos"}' }, { id: 'call_2', name: 'get_weather', arguments: '{"city":"Paros"}' }],
  });
  mock.on({ userMessage: 'weather', hasToolResult: true }, { content: 'Both sunny.' });
  const first = await ai.responses.create({ model: 'anton', input: 'weather?', tools: [weather] });
  const calls = first.output.filter((item) => item.type === 'function_call');
  assert.deepEqual(calls.map((c) => c.arguments), ['{"city":"Naxos"}', '{"city":"Paros"}']);
  const second = await ai.responses.create({
    model: 'anton', tools: [weather], previous_response_id: first.id,
    input: calls.map((c) => ({ type: 'function_call_output', call_id: c.call_id, output: `sunny for ${c.call_id}` })),
  });
  assert.equal(second.output_text, 'Both sunny.');
  assert.deepEqual(transcript(requests[1]).slice(2), calls.map((c) => `result ${c.call_id}: sunny for ${c.call_id}`));
});

test('tool_choice and parallel_tool_calls reach the model', async (t) => {
  const { ai, mock, requests } = await serveWithModel(t);
  mock.onMessage('hello', { content: 'Hello.' });
  const ask = (more) => ai.responses.create({ model: 'anton', input: 'hello', tools: [weather], ...more });
  await ask({ tool_choice: 'required', parallel_tool_calls: false });
  const answer = await ask({ tool_choice: { type: 'function', name: 'get_weather' } });
  await ask({ tool_choice: 'none' });
  const [required, named, none] = requests.map((r) => r.body);
  assert.deepEqual([required.tool_choice, required.parallel_tool_calls], ['required', false]);
  assert.deepEqual(named.tool_choice, { type: 'function', function: { name: 'get_weather' } });
  assert.ok(none.tool_choice === 'none' || none.tools === undefined, 'none: no tool can be called');
  assert.deepEqual(answer.tool_choice, { type: 'function', name: 'get_weather' });
  assert.deepEqual(answer.tools.map((x) => x.name), ['get_weather']);
});

test('tools of a kind that the server does not have are ignored', async (t) => {
  const { ai, mock, requests } = await serveWithModel(t);
  scriptWeather(mock);
  const answer = await ai.responses.create({
    model: 'anton', input: 'weather?',
    tools: [
      { type: 'web_search' }, { type: 'custom', name: 'grammar', description: 'free text' },
      { type: 'namespace', name: 'multi', description: 'a group', tools: [{ ...weather, name: 'inner' }] },
      { type: 'something_of_tomorrow', what: { ever: 1 } }, weather,
    ],
  });
  assert.equal(answer.output.find((item) => item.type === 'function_call').name, 'get_weather');
  const names = requests[0].body.tools.map((x) => x.function.name);
  assert.ok(names.includes('get_weather') && !names.some((n) => ['web_search', 'grammar', 'multi', 'something_of_tomorrow'].includes(n)), `offered: ${names}`);
});

test('previous_response_id: a branch does not see what came later', async (t) => {
  const { ai, mock, requests } = await serveWithModel(t);
  for (const word of ['one', 'two', 'three', 'other', 'more']) mock.onMessage(word, { content: `answer ${word}` });
  const ask = async (input, previous_response_id) => (await ai.responses.create({ model: 'anton', input, previous_response_id })).id;
  const one = await ask('one');
  const two = await ask('two', one);
  await ask('three', two);
  const other = await ask('other', one);
  await ask('more', other);
  const upTo = (...words) => [...words.slice(0, -1).flatMap((w) => [`user: ${w}`, `assistant: answer ${w}`]), `user: ${words.at(-1)}`];
  assert.deepEqual(requests.map(transcript), [
    upTo('one'), upTo('one', 'two'), upTo('one', 'two', 'three'), upTo('one', 'other'), upTo('one', 'other', 'more'),
  ]);
});

test('instructions hold for one response and are shown in it', async (t) => {
  const { ai, mock, requests } = await serveWithModel(t);
  mock.onMessage('hello', { content: 'Ahoy.' });
  const first = await ai.responses.create({ model: 'anton', input: 'hello', instructions: 'Talk like a pirate.' });
  assert.equal(first.instructions, 'Talk like a pirate.');
  await ai.responses.create({ model: 'anton', input: 'hello', previous_response_id: first.id });
  assert.deepEqual(requests.map((r) => JSON.stringify(r.body).includes('pirate')), [true, false]);
});

test('developer and system messages reach the model as instructions', async (t) => {
  const { ai, mock, requests } = await serveWithModel(t);
  mock.onMessage('hello', { content: 'Hello.' });
  const answer = await ai.responses.create({
    model: 'anton',
    input: [{ role: 'system', content: 'Rule one.' }, { role: 'developer', content: [{ type: 'input_text', text: 'Rule two.' }] },
      { role: 'user', content: [{ type: 'input_text', text: 'hello' }] }],
  });
  assert.equal(answer.output_text, 'Hello.');
  const { messages } = requests[0].body;
  const rules = messages.filter((m) => m.role === 'system' || m.role === 'developer').map((m) => JSON.stringify(m.content)).join();
  assert.match(rules, /Rule one\.[^]*Rule two\./);
  assert.deepEqual(transcript(requests[0]), ['user: hello']);
});

test('a history that the client keeps reaches the model in order', async (t) => {
  const { ai, mock, requests } = await serveWithModel(t);
  mock.onMessage('third', { content: 'Yes.' });
  await ai.responses.create({
    model: 'anton',
    input: [{ role: 'user', content: 'first' }, { role: 'assistant', content: 'second' }, { role: 'user', content: 'third' }],
  });
  assert.deepEqual(transcript(requests[0]), ['user: first', 'assistant: second', 'user: third']);
});

test('parameters reach the model and are shown in the response', async (t) => {
  const { ai, mock, requests } = await serveWithModel(t);
  mock.onMessage('hello', { content: 'Hello.' });
  const answer = await ai.responses.create({
    model: 'anton', input: 'hello', temperature: 0.25, top_p: 0.5, max_output_tokens: 77, reasoning: { effort: 'low', summary: 'auto' },
    text: { verbosity: 'low' }, user: 'u-1', metadata: { trip: 'naxos' }, truncation: 'auto', service_tier: 'auto',
    prompt_cache_key: 'k', safety_identifier: 's', include: ['reasoning.encrypted_content'], top_logprobs: 0,
  });
  const sent = requests[0].body;
  assert.deepEqual([sent.temperature, sent.top_p, sent.max_tokens ?? sent.max_completion_tokens, sent.reasoning_effort, sent.verbosity],
    [0.25, 0.5, 77, 'low', 'low']);
  assert.deepEqual([answer.temperature, answer.top_p, answer.max_output_tokens, answer.reasoning.effort, answer.text.verbosity, answer.user],
    [0.25, 0.5, 77, 'low', 'low', 'u-1']);
  assert.deepEqual(answer.metadata, { trip: 'naxos' });
  assert.deepEqual((await ai.responses.retrieve(answer.id)).metadata, { trip: 'naxos' });
});

test('a missing model name is the configured model', async (t) => {
  const { ai, mock, requests } = await serveWithModel(t);
  mock.onMessage('hello', { content: 'Hello.' });
  const answer = await ai.responses.create({ input: 'hello' });
  assert.equal(answer.output_text, 'Hello.');
  assert.equal(requests[0].body.model, 'mock-model');
});

test('reasoning of the model is an item of its own', async (t) => {
  const { ai, mock } = await serveWithModel(t);
  mock.onMessage('hello', { content: 'Hello.', reasoning: 'They greet me.' });
  const final = await ai.responses.stream({ model: 'anton', input: 'hello', reasoning: { summary: 'auto' } }).finalResponse();
  assert.deepEqual(final.output.map((item) => item.type), ['reasoning', 'message']);
  assert.equal(final.output[0].summary[0].text, 'They greet me.');
  assert.equal(final.output_text, 'Hello.');
});

test('an answer that hits the token limit is incomplete', async (t) => {
  const { ai, mock } = await serveWithModel(t);
  mock.onMessage('hello', { content: 'Half an ans', finishReason: 'length' });
  const final = await ai.responses.stream({ model: 'anton', input: 'hello', max_output_tokens: 4 }).finalResponse();
  assert.equal(final.status, 'incomplete');
  assert.equal(final.incomplete_details.reason, 'max_output_tokens');
  assert.equal(final.output_text, 'Half an ans');
});

test('input items: order, pages and single messages', async (t) => {
  const { ai, mock } = await serveWithModel(t);
  mock.onMessage('three', { content: 'Yes.' });
  const { id } = await ai.responses.create({
    model: 'anton', input: [{ role: 'user', content: 'one' }, { role: 'assistant', content: 'two' }, { role: 'user', content: 'three' }],
  });
  const texts = (items) => items.map((item) => `${item.role}: ${item.content[0].text}`);
  const newest = await ai.responses.inputItems.list(id);
  assert.deepEqual(texts(newest.data), ['user: three', 'assistant: two', 'user: one']);
  assert.equal(newest.has_more, false);
  const page = await (await ai.responses.inputItems.list(id, { order: 'asc', limit: 2 }).asResponse()).json();
  assert.deepEqual(texts(page.data), ['user: one', 'assistant: two']);
  assert.deepEqual([page.object, page.first_id, page.last_id, page.has_more], ['list', page.data[0].id, page.data[1].id, true]);
  const all = [];
  for await (const item of ai.responses.inputItems.list(id, { order: 'asc', limit: 1 })) all.push(item);
  assert.deepEqual(texts(all), ['user: one', 'assistant: two', 'user: three']);
  assert.equal(new Set(all.map((item) => item.id)).size, 3);
  const behind = await ai.responses.inputItems.list(id, { order: 'asc', after: all[0].id });
  assert.deepEqual(texts(behind.data), ['assistant: two', 'user: three']);
});

test('delete takes a response and what was said in it', async (t) => {
  const { ai, mock, requests } = await serveWithModel(t);
  for (const word of ['one', 'two', 'three']) mock.onMessage(word, { content: `answer ${word}` });
  const conversation = 'to-forget';
  await ai.responses.create({ model: 'anton', input: 'one', conversation });
  const two = await ai.responses.create({ model: 'anton', input: 'two', conversation });
  await ai.responses.delete(two.id);
  await assert.rejects(ai.responses.retrieve(two.id), OpenAI.NotFoundError);
  await assert.rejects(ai.responses.delete(two.id), OpenAI.NotFoundError);
  await ai.responses.create({ model: 'anton', input: 'three', conversation });
  assert.deepEqual(transcript(requests.at(-1)), ['user: one', 'assistant: answer one', 'user: three']);
});
