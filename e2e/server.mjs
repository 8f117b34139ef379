// Starts the built binary in a home of its own, on a free port.
import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';

const binary = resolve(import.meta.dirname, '../bin/anthill');

/** Runs `anthill serve` until the test ends; resolves with its address. */
export async function serve(t, env = {}) {
  const home = await mkdtemp(join(tmpdir(), 'anthill-e2e-'));
  const child = spawn(binary, ['serve', '--port', '0'], {
    env: { PATH: process.env.PATH, HOME: home, ANTHILL_HOME: join(home, 'data'), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let log = '';
  child.stderr.on('data', (d) => { log += d; });
  const exited = new Promise((done) => child.once('exit', done));
  t.after(async () => {
    child.kill('SIGTERM');
    const code = await exited;
    await rm(home, { recursive: true, force: true });
    if (code !== 0) throw new Error(`anthill exited with ${code}:\n${log}`);
  });
  const first = new Promise((done, fail) => {
    createInterface({ input: child.stdout }).once('line', done);
    exited.then((code) => fail(new Error(`anthill exited with ${code}:\n${log}`)));
  });
  const url = (await first).match(/http:\/\/(\S+)$/);
  return { url: url[0], address: url[1] };
}
