// Turns in which a model works: it runs Python in scratchpads and makes an
// artifact. What was streamed is what everything else shows later.
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { createOpenAI } from '@ai-sdk/openai';
import { generateText, streamText } from 'ai';
import { packageIndex } from './fixtures/packages.mjs';
import { paired, protocols, script, serveWithModel } from './provider.mjs';
import { call, events, serve } from './server.mjs';

const conversation = 'tides';

/** A call of the scratchpad. */
const cell = (id, code, more = {}) => ({
  id, name: 'scratchpad', arguments: JSON.stringify({ action: 'exec', name: 'main', code, one_line_description: `Cell ${id}`, ...more }),
});

const post = (url, body) => fetch(url, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });

/**
 * Holds a turn. `meet` is called with each event before the next is read. Returns
 * what was streamed: the response and the type of the last event, the thoughts
 * about calls, the cells among these. Whatever else shows the turn must agree.
 */
async function turn(server, input, meet = () => {}) {
  const raw = [];
  for await (const { event, data } of events(await post(`${server.url}/v1/responses`, { input, conversation, stream: true }))) {
    raw.push(data);
    assert.equal(JSON.parse(data).type, event);
    await meet(JSON.parse(data));
  }
  const all = raw.map((data) => JSON.parse(data));
  const { response } = all.at(-1);
  await sameEverywhere(server, response.id, raw);
  await validForSDK(server, response);
  server.requests.map(paired);
  for (const { path, response: { status, fixture } } of server.mock.getRequests()) {
    assert.ok(status === 200 && fixture, `aimock had no answer to a request of ${path}`);
  }
  const thoughts = all.filter((e) => e.tool_use_id || e.thought_role?.startsWith('thought.scratchpad')).map((e) => ({ ...e, kind: `${e.thought_role}${e.phase ? ` ${e.phase}` : ''}` }));
  const cells = thoughts.filter((e) => e.thought_role === 'thought.scratchpad.result').map((e) => ({ ...JSON.parse(e.content), told: e.cell_status, call: e.tool_use_id }));
  assert.ok(thoughts.every((e) => e.tool_use_id), 'thoughts of a call name it');
  return { response, thoughts, cells, end: all.at(-1).type };
}

/** Whoever reads the turn again reads what was streamed, byte for byte. */
async function sameEverywhere({ url }, id, raw) {
  const messages = await (await fetch(`${url}/v1/conversations/${conversation}/messages`)).text();
  const { events: replayed } = JSON.parse(messages).messages.at(-1);
  assert.deepEqual(replayed, raw.map((data) => JSON.parse(data)), '/messages has other events than were streamed');
  assert.ok(messages.includes(`"events":[${raw.join(',')}]`), '/messages writes the events otherwise than they were streamed');
  for (const path of [`${id}?stream=true`, `tail?conversation_id=${conversation}&from_seq=0`]) {
    const again = [];
    for await (const { data } of events(await fetch(`${url}/v1/responses/${path}`))) again.push(data);
    assert.deepEqual(again, raw, path);
  }
}

const ended = ['completed', 'incomplete', 'failed'];

const isText = (value) => typeof value === 'string' && value !== '';

/** What OpenAI's SDK says that an item has. */
const items = {
  message: (item) => item.role === 'assistant' && item.content.every((part) => part.type === 'output_text' && isText(part.text) && Array.isArray(part.annotations)),
  reasoning: (item) => item.summary.every((part) => part.type === 'summary_text' && isText(part.text)),
  code_interpreter_call: (item) => isText(item.code) && isText(item.container_id) && item.outputs.every((out) => out.type === 'logs' && isText(out.logs)),
  mcp_call: (item) => isText(item.name) && isText(item.server_label) && typeof JSON.parse(item.arguments) === 'object' && isText(item.output ?? item.error) && (item.output === null || item.error === null),
};

async function validForSDK({ ai }, response) {
  const retrieved = await ai.responses.retrieve(response.id);
  const helped = await ai.responses.stream({ response_id: response.id }).finalResponse();
  assert.deepEqual(retrieved.output, response.output, 'responses.retrieve');
  assert.deepEqual(helped.output.map(unparsed), response.output, 'the stream helper');
  assert.equal(new Set(response.output.map((item) => item.id)).size, response.output.length, 'ids of items');
  for (const item of response.output) assert.ok(isText(item.id) && ended.includes(item.status) && items[item.type]?.(item), JSON.stringify(item));
}

/** An item without what the stream helper adds. */
const unparsed = ({ parsed: _, content, ...item }) => (content ? { ...item, content: content.map(({ parsed, ...part }) => part) } : item);

/** What a scratchpad call shows, in this order (the desktop client needs it so). */
const shownOfCell = ['thought.scratchpad.start', 'thought.scratchpad.end', 'thought.progress scratchpad_start', 'thought.progress scratchpad_done', 'thought.scratchpad.result'];

const kinds = (thoughts, id) => thoughts.filter((e) => e.tool_use_id === id).map((e) => e.kind);

/** What the model was told about a call in its newest request. */
const told = ({ requests }, id) => paired(requests.at(-1)).find((part) => part.result === id)?.text;

/** Runs a cell in a scratchpad of nobody, for 30 s at most, and hands on its events. */
async function* streamed({ url }, code) {
  for await (const { event, data } of events(await post(`${url}/v1/scratchpad/execute-stream`, { name: 'main', code, estimated_seconds: 0.001 }))) {
    assert.equal(event, undefined, 'the client of this route knows no event lines');
    yield JSON.parse(data);
  }
}

const wave = `
import math, struct, zlib
folder = '.anton/artifacts/tide-table'
line = ' '.join('%d,%d' % (x, 40 - 30 * math.sin(x / 10)) for x in range(0, 200, 4))
class Plot:
    def _repr_svg_(self):
        return '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 200 80"><polyline fill="none" stroke="navy" points="%s"/></svg>' % line
    def _repr_png_(self):
        def chunk(kind, data):
            return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))
        rows = b''.join(b'\\0' + bytes(255 * (abs(y - 40 + 30 * math.sin(x / 10)) > 1) for x in range(200)) for y in range(80))
        return b'\\x89PNG\\r\\n\\x1a\\n' + chunk(b'IHDR', struct.pack('>2I5B', 200, 80, 8, 0, 0, 0, 0)) + chunk(b'IDAT', zlib.compress(rows)) + chunk(b'IEND', b'')
plot = Plot()
with open(folder + '/wave.svg', 'w') as f: f.write(plot._repr_svg_())
with open(folder + '/wave.png', 'wb') as f: f.write(plot._repr_png_())
display(plot)
display({'text/html': '<b>high at noon</b>'}, raw=True)
line.count(',')
`;

// The tests wait for Python more than they work; the first one half a minute.
describe('coworker', { concurrency: 3 }, () => {
  test('a model is told when a cell took too long, and what it printed by then', async (t) => {
    const server = await serveWithModel(t);
    const shortest = { estimated_execution_time_seconds: 0.001 }; // 30 s, less there is not
    script(server, { toolCalls: [cell('c1', 'level = 7\nprint("rising")\nwhile True: pass', shortest)] }, { toolCalls: [cell('c2', 'print(level)')] }, { content: 'It took too long.' });
    const { response, cells, end } = await turn(server, 'Wait for the tide.');
    assert.deepEqual([end, cells.map((c) => [c.told, c.status, c.stdout])], ['response.completed', [['timeout', 'timeout', 'rising\n'], ['ok', 'ok', '7\n']]]);
    assert.deepEqual(response.output.map((item) => item.status), ['failed', 'completed', 'completed']);
    assert.match(told(server, 'c1'), /rising/);
    assert.match(told(server, 'c1'), /longer than 30/);
  });

  for (const protocol of Object.keys(protocols)) {
    test(`${protocol}: a model keeps variables from cell to cell and from turn to turn`, async (t) => {
      const server = await serveWithModel(t, protocol);
      script(server,
        { content: 'I count.', reasoning: 'Two cells will do.', toolCalls: [cell('c1', 'high = [3.1, 4.2]\nprint("Größe", len(high))')] },
        { toolCalls: [cell('c2', 'high.append(5.3)\nsum(high)')] },
        { content: 'They are 12.6 m.' },
        { toolCalls: [cell('c3', 'print(len(high))')] }, { content: 'Three.' });
      const first = await turn(server, 'Add the tides.');
      assert.equal(first.end, 'response.completed');
      assert.deepEqual(kinds(first.thoughts, 'c1'), shownOfCell);
      assert.deepEqual(kinds(first.thoughts, 'c2'), shownOfCell);
      assert.deepEqual(first.cells.map((c) => [c.call, c.told, c.stdout, c.outputs, c.error, c.description, c.number]), [
        ['c1', 'ok', 'Größe 2\n', [], null, 'Cell c1', 1],
        ['c2', 'ok', '', [{ kind: 'execute_result', data: { 'text/plain': '12.600000000000001' } }], null, 'Cell c2', 2],
      ]);
      assert.deepEqual(first.response.output.map((item) => item.type), ['reasoning', 'message', 'code_interpreter_call', 'code_interpreter_call', 'message']);
      assert.equal(first.response.output[0].summary[0].text, 'Two cells will do.');
      assert.match(told(server, 'c1'), /Größe 2/);
      assert.match(told(server, 'c2'), /12\.6/);
      const second = await turn(server, 'How many were they?');
      assert.deepEqual(second.cells.map((c) => c.stdout), ['3\n']);
      assert.match(told(server, 'c3'), /3/);
    });

    test(`${protocol}: a model makes an artifact of a plot`, async (t) => {
      const server = await serveWithModel(t, protocol);
      const artifact = { name: 'Tide table', description: 'High and low water', type: 'image', primary: 'wave.svg' };
      script(server, { toolCalls: [{ id: 'a1', name: 'create_artifact', arguments: JSON.stringify(artifact) }] },
        { toolCalls: [cell('c1', wave)] }, { content: 'Here it is.' });
      const { response, thoughts, cells: [drawn] } = await turn(server, 'Plot the tides.');
      assert.deepEqual(kinds(thoughts, 'a1'), ['thought.progress', 'thought.progress', 'thought.progress tool_start', 'thought.progress tool_done']);
      assert.deepEqual(response.output.map((item) => [item.type, item.status]), [['mcp_call', 'completed'], ['code_interpreter_call', 'completed'], ['message', 'completed']]);
      assert.equal(JSON.parse(response.output[0].output).folder, '.anton/artifacts/tide-table');

      const project = join(server.home, 'data', 'projects', 'general');
      const folder = join(project, '.anton', 'artifacts', 'tide-table');
      const [svg, png] = await Promise.all(['wave.svg', 'wave.png'].map((name) => readFile(join(folder, name))));
      assert.deepEqual(drawn.outputs.map((out) => [out.kind, Object.keys(out.data).sort()]), [
        ['display_data', ['image/png', 'image/svg+xml', 'text/plain']], ['display_data', ['text/html']], ['execute_result', ['text/plain']]]);
      assert.deepEqual([drawn.outputs[0].data['image/svg+xml'], drawn.outputs[0].data['image/png'], drawn.outputs[1].data['text/html'], drawn.outputs[2].data['text/plain']],
        [svg.toString(), png.toString('base64'), '<b>high at noon</b>', '50']);
      const pictures = paired(server.requests.at(-1)).filter((part) => part.image);
      assert.equal(pictures.length, 1, 'the model sees what the cell drew');
      assert.ok(pictures[0].image.endsWith(png.toString('base64')));

      for (const query of ['', '?project=general', '?project=all', `?project_path=${project}`]) {
        const [card, ...more] = await call(`${server.url}/v1/artifacts${query}`);
        assert.deepEqual([more, card.slug, card.title, card.kind, card.ext, card.primary, card.fileCount, card.folder, card.path, card.project],
          [[], 'tide-table', 'Tide table', 'Image', 'svg', 'wave.svg', 2, folder, join(folder, 'wave.svg'), 'general'], query);
      }
      const { files, provenance } = JSON.parse(await readFile(join(folder, 'metadata.json'), 'utf8'));
      assert.deepEqual(files.map((f) => [f.path, f.bytes]), [['wave.png', png.length], ['wave.svg', svg.length]]);
      assert.deepEqual(provenance.map((from) => [from.conversation, from.turns.map((of) => [of.index, of.summary, of.files_touched])]),
        [[conversation, [[0, 'Plot the tides.', ['wave.png', 'wave.svg']]]]]);
    });

    test(`${protocol}: a model gets a module that is missing from the index that the operator chose`, async (t) => {
      const index = await packageIndex(t, 'tide_tables', 'def high():\n    return 4.2\n');
      const server = await serveWithModel(t, protocol, index.env);
      script(server, { toolCalls: [cell('c1', 'import tide_tables\nprint(tide_tables.high())')] }, { toolCalls: [cell('c2', 'import no_such_tides')] }, { content: 'Now I know.' });
      const { response, cells } = await turn(server, 'How high?');
      assert.deepEqual(cells.map((c) => [c.told, c.stdout, c.installed]), [['ok', '4.2\n', ['tide_tables']], ['error', '', []]]);
      assert.match(cells[1].error, /No module named 'no_such_tides'/);
      assert.deepEqual(response.output.map((item) => item.status), ['completed', 'failed', 'completed']);
      assert.match(told(server, 'c1'), /4\.2/);
      assert.match(told(server, 'c2'), /no_such_tides/);
      assert.ok(index.asked.every((path) => /tide|such/.test(path)), `asked for ${index.asked}`);
    });

    test(`${protocol}: a model stops with its cell when it is cancelled, and goes on from there`, async (t) => {
      const server = await serveWithModel(t, protocol);
      script(server, { toolCalls: [cell('c1', 'level = 7\nprint("rising")\nprogress("under way")\nwhile True: pass')] },
        { toolCalls: [cell('c2', 'print(level)')] }, { content: 'It is 7.' });
      let cancelled;
      const first = await turn(server, 'Wait for the tide.', async (e) => {
        if (e.phase !== 'scratchpad' || cancelled) return;
        assert.equal(e.message, 'under way');
        cancelled = await call(`${server.url}/v1/responses/cancel`, 'POST', { conversation_id: conversation });
      });
      assert.deepEqual([cancelled.cancelled, first.end, first.response.incomplete_details], [true, 'response.incomplete', { reason: 'cancelled' }]);
      assert.deepEqual(first.response.output.map((item) => [item.type, item.status]), [['code_interpreter_call', 'incomplete']]);
      assert.deepEqual(first.cells.map((c) => [c.told, c.stdout, c.error]), [['cancelled', 'rising\n', 'Cancelled by user.']]);
      const second = await turn(server, 'How high is it?');
      assert.deepEqual([second.end, second.cells[0].stdout, second.cells[0].notice], ['response.completed', '7\n', '']);
      assert.ok(told(server, 'c1'), 'the call that was stopped has a result');
    });

    test(`${protocol}: a model that works is streamed to the unmodified OpenAI SDK`, async (t) => {
      const server = await serveWithModel(t, protocol);
      script(server, { content: 'Wait.', toolCalls: [cell('c1', 'print("<&> " * 3)'), { id: 'l1', name: 'list_files', arguments: '{}' }] }, { toolCalls: [cell('c2', '1 / 0')] }, { content: 'That is it.' });
      const { ai } = server;
      const seen = [];
      const stream = ai.responses.stream({ model: 'anton', input: 'go', conversation, tools: [{ type: 'code_interpreter', container: { type: 'auto' } }] });
      for await (const event of stream) seen.push(event.type);
      const whole = await stream.finalResponse();
      assert.deepEqual(whole.output.map((item) => [item.type, item.status]), [
        ['message', 'completed'], ['code_interpreter_call', 'completed'], ['mcp_call', 'completed'], ['code_interpreter_call', 'failed'], ['message', 'completed']]);
      assert.match(whole.output.find((item) => item.type === 'code_interpreter_call').outputs[0].logs, /<&> <&> <&>/);
      assert.ok(seen.includes('response.code_interpreter_call_code.delta') && seen.includes('response.code_interpreter_call.interpreting'), `${seen}`);
      await validForSDK(server, { ...whole, output: whole.output.map(unparsed) });
    });
  }

  test('a model that works is read by the AI SDK, which checks what it is given', async (t) => {
    const server = await serveWithModel(t);
    const openai = createOpenAI({ baseURL: `${server.url}/v1`, apiKey: 'unused' });
    const work = { model: openai.responses('anton'), prompt: 'go', maxRetries: 0, tools: { code_interpreter: openai.tools.codeInterpreter() } };
    for (const ask of [generateText, streamText]) {
      script(server, { content: 'Wait.', toolCalls: [cell('c1', 'print(6 * 7)'), { id: 'l1', name: 'list_files', arguments: '{}' }] }, { content: 'It is 42.' });
      const answer = await ask(work);
      const [results, calls, text] = await Promise.all([answer.toolResults, answer.toolCalls, answer.text]);
      assert.deepEqual(calls.map((c) => [c.toolName, c.providerExecuted, c.invalid]), [['code_interpreter', true, undefined], ['mcp.list_files', true, undefined]]);
      assert.match(JSON.stringify(results[0].output), /42/);
      assert.match(text, /It is 42\.$/);
    }
  });

  test('a streamed cell shows its first line while it waits', async (t) => {
    const server = await serve(t);
    await call(`${server.url}/v1/scratchpad/start`, 'POST', { name: 'main' });
    const go = join(server.home, 'data', 'projects', 'general', 'go');
    const seen = [];
    for await (const event of streamed(server, 'import os, time\nprint("first")\nwhile not os.path.exists("go"): time.sleep(0.01)\nprint("second")')) {
      seen.push(event);
      if (event.type === 'stdout' && event.text === 'first\n') await writeFile(go, ''); // the cell waits for this
    }
    assert.deepEqual(seen.map((e) => [e.type, e.text]), [['started', undefined], ['stdout', 'first\n'], ['stdout', 'second\n'], ['cell', undefined]]);
    assert.deepEqual([seen.at(-1).cell.stdout, seen.at(-1).cell.status], ['first\nsecond\n', 'ok']);
  });

  test('a streamed cell is interrupted, and what it defined stays', async (t) => {
    const server = await serve(t);
    await call(`${server.url}/v1/scratchpad/start`, 'POST', { name: 'main' });
    let end;
    for await (const event of streamed(server, 'level = 7\nprint("spinning")\nwhile True: pass')) {
      if (event.type === 'stdout') await call(`${server.url}/v1/scratchpad/cancel`, 'POST', { name: 'main' });
      end = event;
    }
    assert.deepEqual([end.type, end.cell.status, end.cell.error, end.cell.stdout], ['cell', 'cancelled', 'Cancelled by user.', 'spinning\n']);
    const { cell: next } = await call(`${server.url}/v1/scratchpad/execute`, 'POST', { name: 'main', code: 'level' });
    assert.deepEqual([next.status, next.outputs[0].data['text/plain'], next.notice], ['ok', '7', '']);
  });
});
