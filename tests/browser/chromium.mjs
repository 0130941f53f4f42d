// A headless Chromium, spoken to over its debugging pipe: JSON ended by NUL, on descriptors 3 and 4.

import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export class Chromium {
  #child;
  #profile;
  #waiting = new Map();
  #sent = 0;
  #session;
  #said = '';
  #heard = new Map();

  /** Starts one with an empty profile and an empty page. */
  static async start(binary) {
    const chromium = new Chromium();
    chromium.#profile = mkdtempSync(join(tmpdir(), 'aorta-chromium-'));
    const options = [
      '--headless=new',
      '--remote-debugging-pipe',
      `--user-data-dir=${chromium.#profile}`,
      // The server's certificate is made for the run and signed by itself.
      '--ignore-certificate-errors',
      '--no-first-run',
      '--disable-gpu',
      '--disable-dev-shm-usage',
      '--disable-background-networking',
      '--disable-component-update',
      '--no-proxy-server',
    ];
    if (process.getuid?.() === 0) {
      options.push('--no-sandbox');
    }
    const stdio = ['ignore', 'pipe', 'pipe', 'pipe', 'pipe'];
    chromium.#child = spawn(binary, [...options, 'about:blank'], { stdio, detached: true });
    await chromium.#connect();
    return chromium;
  }

  async #connect() {
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream.on('data', (data) => (this.#said += data));
    }
    const failed = (why) => {
      for (const { reject } of this.#waiting.values()) {
        reject(new Error(`Chromium ${why}\n${this.#said}`));
      }
      this.#waiting.clear();
    };
    this.#child.on('error', (error) => failed(`cannot be started: ${error.message}`));
    this.#child.on('exit', (code, signal) => failed(`ended: ${code ?? signal}`));
    // Its end of the pipe closes when it ends; that it ended is said above.
    this.#child.stdio[3].on('error', () => {});
    let text = '';
    this.#child.stdio[4].setEncoding('utf8').on('data', (data) => {
      const messages = (text + data).split('\0');
      text = messages.pop();
      for (const message of messages.map((message) => JSON.parse(message))) {
        for (const listener of this.#heard.get(message.method) ?? []) {
          listener(message.params);
        }
        const waiting = this.#waiting.get(message.id);
        this.#waiting.delete(message.id);
        if (message.error) {
          waiting?.reject(new Error(message.error.message));
        } else {
          waiting?.resolve(message.result);
        }
      }
    });
    const { targetInfos } = await this.#call('Target.getTargets');
    const { targetId } = targetInfos.find(({ type }) => type === 'page');
    const { sessionId } = await this.#call('Target.attachToTarget', { targetId, flatten: true });
    this.#session = sessionId;
  }

  #call(method, params = {}) {
    const id = (this.#sent += 1);
    const message = { id, method, params, sessionId: this.#session };
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#child.stdio[3].write(`${JSON.stringify(message)}\0`);
    });
  }

  /** A command of the debugging protocol to the page. */
  async command(method, params = {}) {
    return this.#call(method, params);
  }

  /** Hears each event of this name. */
  on(method, listener) {
    this.#heard.set(method, [...(this.#heard.get(method) ?? []), listener]);
  }

  /** Runs a script in the page; what it gives, or what its promise gives, as JSON. */
  async evaluate(expression) {
    const params = { expression, awaitPromise: true, returnByValue: true };
    const { result, exceptionDetails } = await this.#call('Runtime.evaluate', params);
    if (exceptionDetails) {
      const { exception, text } = exceptionDetails;
      throw new Error(exception?.description ?? exception?.value ?? text);
    }
    return result.value;
  }

  /** Ends it as a crash does: nobody in it can say goodbye. */
  async kill() {
    if (this.#child.pid && this.#child.exitCode === null && this.#child.signalCode === null) {
      const ended = new Promise((resolve) => this.#child.once('exit', resolve));
      // It and its processes are a group of their own.
      process.kill(-this.#child.pid, 'SIGKILL');
      await ended;
    }
    rmSync(this.#profile, { recursive: true, force: true, maxRetries: 20 });
  }
}
