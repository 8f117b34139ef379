// A gRPC client that knows nothing but the port: it learns the services by
// reflection, creates a project and streams a response.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import grpc from '@grpc/grpc-js';
import { GrpcReflection } from 'grpc-js-reflection-client';
import { serve } from './server.mjs';

async function clientOf(reflection, address, service) {
  const descriptor = await reflection.getDescriptorBySymbol(service);
  const packages = descriptor.getPackageObject({ keepCase: true, enums: String, longs: Number });
  const Client = service.split('.').reduce((at, name) => at[name], packages);
  return new Client(address, grpc.credentials.createInsecure());
}

const unary = (client, method, request) => new Promise((done, fail) => {
  client[method](request, (err, answer) => (err ? fail(err) : done(answer)));
});

test('reflection, a project and a streamed response over gRPC on the one port', async (t) => {
  const { address, url } = await serve(t);
  const reflection = new GrpcReflection(address, grpc.credentials.createInsecure());
  const services = await reflection.listServices();
  for (const name of ['ResponsesService', 'ConversationsService', 'ProjectsService', 'SettingsService', 'HealthService']) {
    assert.ok(services.includes(`anton.v1.${name}`), `${name} in ${services}`);
  }

  const projects = await clientOf(reflection, address, 'anton.v1.ProjectsService');
  t.after(() => projects.close());
  const project = await unary(projects, 'CreateProject', { name: 'Fähre & Zelt' });
  assert.equal(project.renamed, true);

  const files = await clientOf(reflection, address, 'anton.v1.ProjectFilesService');
  t.after(() => files.close());
  await unary(files, 'WriteFile', { project: project.name, path: 'notes.md', content: 'The ferry leaves at 07:30.\n' });

  const responses = await clientOf(reflection, address, 'anton.v1.ResponsesService');
  t.after(() => responses.close());
  const events = [];
  const stream = responses.CreateResponse({
    input: [{ role: 'user', text: 'When does the ferry leave according to notes.md?' }],
    project: project.name, conversation: 'from-node',
  });
  for await (const event of stream) events.push(event);

  assert.ok(events[0].created, 'created comes first');
  const end = events.at(-1).completed;
  assert.ok(end, 'completed comes last');
  assert.match(end.response.output_text, /07:30/);
  const numbers = events.map((e) => e.sequence_number ?? 0);
  assert.deepEqual(numbers, [...numbers].sort((a, b) => a - b));
  assert.equal(new Set(numbers).size, numbers.length);
  const deltas = events.map((e) => e.output_text_delta?.delta ?? '').join('');
  assert.equal(deltas, end.response.output_text);

  const rest = await (await fetch(`${url}/v1/conversations/from-node`)).json();
  assert.equal(rest.project, project.name, 'the same conversation over REST');

  const wrong = await unary(projects, 'SetActiveProject', { name: 'nobody' }).catch((e) => e);
  assert.equal(wrong.code, grpc.status.NOT_FOUND);
});
