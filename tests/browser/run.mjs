// node run.mjs CHROMIUM WSS_URL: JsSIP in that browser against the registrar at that URL. Ends with
// status 0 when each step went as it must; otherwise says which did not. Accounts u1..u5 of
// example.com with passwords p1..p5 are used, none registered before.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';

import { bundle } from './bundle.mjs';
import { Chromium } from './chromium.mjs';

const [binary, url] = process.argv.slice(2);
const late = setTimeout(() => {
  console.error('not done after 60 s');
  process.exit(1);
}, 60000);

const chromium = await Chromium.start(binary);

/** Calls a function of page.js. */
const phone = (name, ...values) =>
  chromium.evaluate(`phone.${name}(${values.map((value) => JSON.stringify(value)).join()})`);

async function step(name, run) {
  try {
    await run();
    console.log(`ok ${name}`);
  } catch (error) {
    console.error(`FAILED ${name}\n${error.stack}`);
    await chromium.kill();
    process.exit(1);
  }
}

async function connect(user, password, expires = 120) {
  const { event } = await phone('connect', url, user, password, expires);
  assert.equal(event, 'connected');
}

/** The seconds granted to the only binding. */
function granted(answer) {
  assert.equal(answer.event, 'registered', JSON.stringify(answer));
  assert.equal(answer.contacts.length, 1, JSON.stringify(answer));
  return Number(/;expires=(\d+)/.exec(answer.contacts[0])[1]);
}

const contact = (answer) => /<[^>]+>/.exec(answer.contacts[0])[0];

try {
  await chromium.evaluate(bundle('jssip', 'JsSIP'));
  await chromium.evaluate(readFileSync(new URL('page.js', import.meta.url), 'utf8'));

  await step('registers, refreshes and unregisters', async () => {
    await connect('u1', 'p1');
    const first = await phone('register');
    assert.ok(granted(first) > 100 && granted(first) <= 120, JSON.stringify(first));
    const again = await phone('refresh');
    assert.ok(granted(again) > 100, JSON.stringify(again));
    assert.equal(contact(again), contact(first));
    const gone = await phone('unregister');
    assert.equal(gone.event, 'unregistered', JSON.stringify(gone));
    assert.deepEqual(gone.contacts, []);
    await phone('leave');
  });

  await step('is refused with a wrong password', async () => {
    await connect('u2', 'not p2');
    const refused = await phone('register');
    assert.equal(refused.event, 'registrationFailed', JSON.stringify(refused));
    assert.deepEqual(refused.contacts, []);
    await phone('leave');
  });

  await step('asks again with the minimum after 423', async () => {
    await connect('u3', 'p3', 5);
    assert.ok(granted(await phone('register')) >= 50);
    await phone('leave');
  });

  await step('unregisters everything with the asterisk', async () => {
    await connect('u4', 'p4');
    granted(await phone('register'));
    const gone = await phone('unregister', { all: true });
    assert.equal(gone.event, 'unregistered', JSON.stringify(gone));
    assert.deepEqual(gone.contacts, []);
    await phone('leave');
  });

  await step('registers and crashes', async () => {
    await connect('u5', 'p5');
    granted(await phone('register'));
  });
} finally {
  await chromium.kill();
  clearTimeout(late);
}
