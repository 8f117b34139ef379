// Starts the built binary in a home of its own, on a free port.
import { spawn } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';

/** The answer of a route, which must be 200: JSON unless it is another kind of text. */
export async function call(url, method = 'GET', body = undefined) {
  const multipart = body instanceof FormData;
  const answer = await fetch(url, {
    method, body: multipart || body === undefined ? body : JSON.stringify(body),
    headers: multipart || body === undefined ? {} : { 'Content-Type': 'application/json' },
  });
  const text = await answer.text();
  if (answer.status !== 200) throw new Error(`${method} ${url}: ${answer.status} ${text}`);
  return answer.headers.get('Content-Type').startsWith('application/json') ? JSON.parse(text) : text;
}

/** An answer's server-sent events as they come: {event, data}, byte for byte. */
export async function* events(answer) {
  if (answer.status !== 200) throw new Error(`${answer.url}: ${answer.status} ${await answer.text()}`);
  let rest = '';
  for await (const piece of answer.body.pipeThrough(new TextDecoderStream())) {
    const blocks = (rest + piece).split('\n\n');
    rest = blocks.pop();
    for (const block of blocks) {
      const [, event, data] = block.match(/^(?:id: \d+\n)?(?:event: (.*)\n)?data: (.*)$/) ?? [];
      if (data !== undefined) yield { event, data };
      else if (!/^(:|id: \d+$)/.test(block)) throw new Error(`${answer.url} sends ${block}`);
    }
  }
  if (rest !== '') throw new Error(`${answer.url} ends within an event: ${rest}`);
}

export const binary = resolve(import.meta.dirname, process.env.ANTHILL_BINARY ?? '../bin/anthill');

/** The files below dir that contain the text. */
export async function filesWith(dir, text) {
  const found = [];
  for (const entry of await readdir(dir, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath ?? entry.path, entry.name);
    if (entry.isFile() && (await readFile(path)).includes(text)) found.push(path);
  }
  return found;
}

/**
 * Runs `anthill serve` until the test ends, which fails if the program did not
 * end well, complained, or wrote a key of its environment anywhere. `stop` ends it
 * earlier, `crash` kills it and starts it again in its home and on its port; `log`
 * is what it wrote so far, `home` its HOME, with the data directory `data` in it.
 */
export async function serve(t, env = {}) {
  const home = await mkdtemp(join(tmpdir(), 'anthill-e2e-'));
  let log = '';
  let child;
  let exited;
  const start = async (port) => {
    child = spawn(binary, ['serve', '--port', port], {
      env: { PATH: process.env.PATH, HOME: home, ANTHILL_HOME: join(home, 'data'), ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    child.stderr.on('data', (d) => { log += d; });
    child.stdout.on('data', (d) => { log += d; });
    exited = new Promise((done, fail) => {
      child.once('close', (code, signal) => done(code ?? signal));
      child.once('error', fail);
    });
    const line = await new Promise((done, fail) => {
      createInterface({ input: child.stdout }).once('line', done);
      exited.then((code) => fail(new Error(`anthill exited with ${code}:\n${log}`)), fail);
    });
    return line.match(/http:\/\/(\S+)$/);
  };
  const stop = async () => {
    child.kill('SIGTERM');
    const code = await exited;
    if (code !== 0) throw new Error(`anthill exited with ${code}:\n${log}`);
  };
  t.after(async () => {
    try {
      await stop();
      const bad = log.match(/panic:|panic while serving|DATA RACE|level=ERROR/);
      if (bad) throw new Error(`anthill wrote ${bad[0]}:\n${log}`);
      for (const key of Object.values(env).filter((value) => value.startsWith('sk-'))) {
        if (log.includes(key)) throw new Error(`the key is in the log:\n${log}`);
        const files = await filesWith(home, key);
        if (files.length > 0) throw new Error(`the key is in ${files}`);
      }
    } finally {
      await rm(home, { recursive: true, force: true });
    }
  });
  const [url, address] = await start('0');
  const crash = async () => {
    child.kill('SIGKILL');
    await exited;
    await start(address.split(':').at(-1));
  };
  return { url, address, home, stop, crash, log: () => log };
}
