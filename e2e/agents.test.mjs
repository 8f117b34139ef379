// OpenAI's Agents SDK, which brings an OpenAI SDK of its own.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Agent, OpenAIProvider, Runner, tool } from '@openai/agents';
import { z } from 'zod';
import { serveWithModel, transcript } from './provider.mjs';

for (const [name, options] of Object.entries({ responses: { useResponses: true }, 'chat completions': { useResponses: false } })) {
  for (const stream of [false, true]) {
    test(`${name}: an agent with a tool${stream ? ', streamed' : ''}`, async (t) => {
      const { mock, url, requests } = await serveWithModel(t);
      mock.on({ userMessage: 'time', hasToolResult: false }, { toolCalls: [{ id: 'call_t', name: 'clock', arguments: '{"zone":"UTC"}' }] });
      mock.on({ userMessage: 'time', hasToolResult: true }, { content: 'It is noon.' });
      const zones = [];
      const agent = new Agent({
        name: 'timekeeper', instructions: 'Be punctual.', model: 'anton',
        tools: [tool({
          name: 'clock', description: 'The time.', parameters: z.object({ zone: z.string() }),
          execute: async ({ zone }) => { zones.push(zone); return '12:00'; },
        })],
      });
      const runner = new Runner({ modelProvider: new OpenAIProvider({ baseURL: `${url}/v1`, apiKey: 'unused', ...options }), tracingDisabled: true });
      const result = await runner.run(agent, 'What time is it?', { stream });
      if (stream) await result.completed;
      assert.equal(result.finalOutput, 'It is noon.');
      assert.deepEqual(zones, ['UTC']);
      assert.match(JSON.stringify(requests[0].body), /Be punctual\./);
    });
  }
}

test('responses: an agent goes on by previousResponseId and in a conversation', async (t) => {
  const { mock, url, ai, requests } = await serveWithModel(t);
  for (const word of ['first', 'second']) mock.onMessage(word, { content: `answer ${word}` });
  const agent = new Agent({ name: 'companion', model: 'anton' });
  const runner = new Runner({ modelProvider: new OpenAIProvider({ baseURL: `${url}/v1`, apiKey: 'unused', useResponses: true }), tracingDisabled: true });
  const first = await runner.run(agent, 'first');
  await runner.run(agent, 'second', { previousResponseId: first.lastResponseId });
  const { id } = await ai.conversations.create();
  for (const word of ['first', 'second']) await runner.run(agent, word, { conversationId: id });
  const whole = ['user: first', 'assistant: answer first', 'user: second'];
  assert.deepEqual([transcript(requests[1]), transcript(requests[3])], [whole, whole]);
});
