// LangChain's ChatOpenAI, over the Responses API and over chat completions.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HumanMessage, SystemMessage, ToolMessage } from '@langchain/core/messages';
import { tool } from '@langchain/core/tools';
import { ChatOpenAI } from '@langchain/openai';
import { z } from 'zod';
import { serveWithModel } from './provider.mjs';

const weather = tool(async ({ city }) => `sunny in ${city}`, {
  name: 'weather', description: 'The weather of a city.', schema: z.object({ city: z.string() }),
});

for (const [name, options] of Object.entries({
  responses: { useResponsesApi: true },
  'responses, not stored': { useResponsesApi: true, zdrEnabled: true },
  'chat completions': { useResponsesApi: false },
})) {
  const setup = async (t) => {
    const server = await serveWithModel(t);
    const chat = new ChatOpenAI({ model: 'anton', apiKey: 'unused', maxRetries: 0, configuration: { baseURL: `${server.url}/v1` }, ...options });
    return { ...server, chat };
  };

  test(`${name}: invoke`, async (t) => {
    const { mock, chat } = await setup(t);
    mock.onMessage('hello', { content: 'Good morning.', usage: { prompt_tokens: 21, completion_tokens: 4, total_tokens: 25 } });
    const answer = await chat.invoke([new SystemMessage('Be kind.'), new HumanMessage('hello')]);
    assert.equal(answer.text, 'Good morning.');
    assert.deepEqual([answer.usage_metadata.input_tokens, answer.usage_metadata.output_tokens], [21, 4]);
  });

  test(`${name}: stream`, async (t) => {
    const { mock, chat } = await setup(t);
    mock.onMessage('hello', { content: 'Good morning from the model.' }, { chunkSize: 5 });
    let text = '';
    for await (const chunk of await chat.stream('hello')) text += chunk.text;
    assert.equal(text, 'Good morning from the model.');
  });

  for (const streamed of [false, true]) {
    test(`${name}: a tool there and back${streamed ? ', streamed' : ''}`, async (t) => {
      const { mock, chat, requests } = await setup(t);
      mock.on({ userMessage: 'weather', hasToolResult: false }, { toolCalls: [{ id: 'call_w', name: 'weather', arguments: '{"city":"Naxos"}' }] });
      mock.on({ userMessage: 'weather', hasToolResult: true }, { content: 'Sunny.' });
      const bound = chat.bindTools([weather]);
      const ask = async (messages) => {
        if (!streamed) return bound.invoke(messages);
        let whole;
        for await (const chunk of await bound.stream(messages)) whole = whole ? whole.concat(chunk) : chunk;
        return whole;
      };
      const messages = [new HumanMessage('weather?')];
      const first = await ask(messages);
      assert.deepEqual(first.tool_calls.map((c) => [c.name, c.args]), [['weather', { city: 'Naxos' }]]);
      const result = await weather.invoke(first.tool_calls[0]);
      assert.ok(result instanceof ToolMessage);
      const second = await ask([...messages, first, result]);
      assert.equal(second.text, 'Sunny.');
      assert.ok(JSON.stringify(requests[1].body).includes('sunny in Naxos'), 'the result reached the model');
    });
  }

  test(`${name}: structured output`, async (t) => {
    const { mock, chat } = await setup(t);
    mock.onMessage('look', { content: '{"city":"Naxos","degrees":31}' });
    const shaped = chat.withStructuredOutput(z.object({ city: z.string(), degrees: z.number() }), { method: 'jsonSchema', name: 'weather' });
    assert.deepEqual(await shaped.invoke('look'), { city: 'Naxos', degrees: 31 });
  });
}

test('responses: going on by previous_response_id', async (t) => {
  const server = await serveWithModel(t);
  server.mock.onMessage('first', { content: 'One.' });
  server.mock.onMessage('second', { content: 'Two.' });
  const chat = new ChatOpenAI({ model: 'anton', apiKey: 'unused', maxRetries: 0, configuration: { baseURL: `${server.url}/v1` }, useResponsesApi: true });
  const first = await chat.invoke('first');
  const second = await chat.invoke('second', { previous_response_id: first.response_metadata.id });
  assert.equal(second.text, 'Two.');
  assert.match(JSON.stringify(server.requests[1].body), /first.*One\..*second/);
});
