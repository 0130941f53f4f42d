// node pages.mjs CHROMIUM ADMIN_URL UDP_TARGET SETUP_CODE [SHOTS]: the pages of the admin interface in that
// browser, with phones at that registrar. Ends with status 0 when each step went as it must;
// otherwise says which did not. Accounts u1 to u60 of example.com are used, none registered before.
// With a directory for SHOTS, each page is kept there as a picture: light, dark and narrow.

import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

import { Chromium } from './chromium.mjs';
import { Phone } from './phone.mjs';

const [binary, url, target, code, shots] = process.argv.slice(2);
const late = setTimeout(() => {
  console.error('not done after 240 s');
  process.exit(1);
}, 240000);

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const EVIL = '<img src=x onerror="window.owned=1"><script>window.owned=1</script>';
const browser = await Chromium.start(binary);

async function step(name, run) {
  try {
    await run();
    console.log(`ok ${name}`);
  } catch (error) {
    console.error(`FAILED ${name}\n${error.stack}`);
    const text = await browser.evaluate('document.body.innerText').catch(() => '');
    console.error(`${await browser.evaluate('location.href').catch(() => '')}\n${text}`);
    await browser.kill();
    process.exit(1);
  }
}

const page = (text) => browser.evaluate(text);

/** Waits until an expression in the page is true; a page that is just going is none. */
async function until(expression, why = expression) {
  const end = Date.now() + 15000;
  for (;;) {
    if (await page(`Boolean(${expression})`).catch(() => false)) {
      return;
    }
    assert.ok(Date.now() < end, `never so: ${why}`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

async function open(path) {
  await page('window.old = true').catch(() => {});
  const { errorText } = await browser.command('Page.navigate', { url: url + path });
  assert.equal(errorText, undefined, path);
  await until('!window.old && document.readyState === "complete"', `${path} is open`);
}

const quoted = (text) => JSON.stringify(text);
const shows = (selector, text) =>
  `document.querySelector(${quoted(selector)})?.textContent.includes(${quoted(text)})`;
const press = async (key, code = key) => {
  const text = key.length === 1 ? key : key === 'Enter' ? '\r' : undefined;
  const virtual = { Enter: 13, Escape: 27 }[key];
  const params = { key, code, text, windowsVirtualKeyCode: virtual };
  await browser.command('Input.dispatchKeyEvent', { type: 'keyDown', ...params });
  await browser.command('Input.dispatchKeyEvent', { type: 'keyUp', ...params });
};
const click = (selector) => page(`document.querySelector(${quoted(selector)}).click()`);
const fill = (selector, text) =>
  page(`document.querySelector(${quoted(selector)}).value = ${quoted(text)}`);
const row = (number) =>
  `[...document.querySelectorAll('tr[data-row]')].find((row) => ` +
  `row.querySelector('th a')?.textContent.startsWith('u${number}@'))`;

const ADMIN = 'correct horse, battery';
const READER = 'quiet river, evening';

async function log_in(name, password) {
  await open('/login');
  await fill('main [name=name]', name);
  await fill('main [name=password]', password);
  await page('window.old = true; document.querySelector("main form").requestSubmit()');
  await until('!window.old && document.readyState === "complete"');
}

async function log_out() {
  await page(`window.old = true; document.querySelector('form[action="/logout"]').requestSubmit()`);
  await until(`!window.old && document.readyState === "complete" && location.pathname === '/login'`);
}

async function look({ width = 1280, height = 900, dark = false } = {}) {
  const mobile = width < 600;
  await browser.command('Emulation.setDeviceMetricsOverride', {
    width, height, mobile, deviceScaleFactor: 1,
  });
  const features = [{ name: 'prefers-color-scheme', value: dark ? 'dark' : 'light' }];
  await browser.command('Emulation.setEmulatedMedia', { features });
}

async function picture(name) {
  if (shots) {
    mkdirSync(shots, { recursive: true });
    const { data } = await browser.command('Page.captureScreenshot', { captureBeyondViewport: true });
    writeFileSync(join(shots, `${name}.png`), Buffer.from(data, 'base64'));
  }
}

/** No serious fault of accessibility, and nothing that makes the page wider than the screen. */
async function accessible(name) {
  // What is on its way in is not as dark yet as it will be.
  await until('document.getAnimations().length === 0');
  await page(axe);
  const { violations } = await page('axe.run(document, { resultTypes: ["violations"] })');
  const serious = violations.filter(({ impact }) => ['serious', 'critical'].includes(impact));
  const said = serious.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join('\n')}`);
  assert.deepEqual(said, [], name);
  const wide = await page('document.documentElement.scrollWidth - innerWidth');
  assert.ok(wide <= 0, `${name} is ${wide} pixels wider than the screen`);
}

// What the content policy stops, and errors of scripts.
const faults = [];
await browser.command('Log.enable');
await browser.command('Runtime.enable');
await browser.command('Page.enable');
browser.on('Log.entryAdded', ({ entry }) => {
  if (entry.level === 'error' && !/status of 4\d\d/.test(entry.text)) {
    faults.push(`${entry.text} ${entry.url ?? ''}`);
  }
});
browser.on('Runtime.exceptionThrown', ({ exceptionDetails: { exception, text } }) =>
  faults.push(exception?.description ?? text),
);

const phones = new Map();
for (let number = 1; number <= 60; number += 1) {
  phones.set(number, await Phone.start(target, number, number === 7 ? EVIL : 'Test phone'));
  assert.equal(await phones.get(number).register(), 200, `u${number}`);
}
// Others refresh all the while.
let isBusy = true;
const busy = (async () => {
  for (let number = 20; isBusy; number = number < 60 ? number + 1 : 20) {
    assert.equal(await phones.get(number).register(), 200);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
})();

try {
  await look();

  await step('the overview counts and says how fast', async () => {
    await open('/');
    await until(shows('.tile strong', '60'));
    await until(`[...document.querySelectorAll('.paces .tile')].some((tile) => ` +
      `tile.textContent.includes('Refreshed') && Number(tile.querySelector('strong').textContent) > 0)`);
    await until(`document.querySelector('.course polyline')`);
  });

  await step('the latency is drawn and told', async () => {
    await open('/latency?by=stage');
    await until(`document.querySelector('.uplot canvas')`);
    await open('/latency?by=shard');
    await until(shows('#live-part tbody th', 'shard 0'));
  });

  await step('a phone is found by its number, with the filter in the address', async () => {
    await open('/registrations');
    await press('/', 'Slash');
    await until(`document.activeElement.name === 'number'`);
    await browser.command('Input.insertText', { text: 'u3' });
    await press('Enter');
    await until(`location.search === '?number=u3'`);
    await until(`document.querySelectorAll('tr[data-row]').length === 1 && ${row(3)}`);
    await until(shows('#counted', '1 registration match'));
  });

  await step('the keyboard opens the details and closes them', async () => {
    await open('/registrations?number=u3,u4');
    await press('j', 'KeyJ');
    await press('j', 'KeyJ');
    const second = await page(`document.activeElement.textContent`);
    await press('Enter');
    await until(`document.querySelector('#drawer').open`);
    await until(`document.querySelector('#details h1').textContent === ${quoted(second)}`);
    await until(shows('#details', 'Test phone'));
    await press('Escape');
    await until(`!document.querySelector('#drawer').open`);
  });

  await step('what phones send is text', async () => {
    await open('/registrations?number=u7');
    await until(`document.querySelector('td[title^="<img"]')?.textContent === ${quoted(EVIL)}`);
    await click('tr[data-row] th a');
    await until(shows('#details', EVIL));
    assert.equal(await page('window.owned'), undefined);
    assert.equal(await page(`document.querySelectorAll('#main img, #details script').length`), 0);
    const aor = encodeURIComponent(`"><script>window.owned=1</script>@example.com`);
    await open(`/registrations/${aor}`);
    await until(`document.querySelector('#problem')`);
    assert.equal(await page('window.owned'), undefined);
  });

  await step('a phone is kicked, is seen gone, and back', async () => {
    await open('/registrations?number=u3');
    await until(row(3));
    await page(`${row(3)}.querySelector('[data-modal]').click()`);
    await until(`document.querySelector('#modal').open && ${shows('#modal', 'u3@example.com')}`);
    await fill('#modal input[name=reason]', 'moves to another desk');
    await click('#modal button[type=submit]');
    await until(shows('#toast', 'u3@example.com is unregistered'));
    await until(`!document.querySelector('#modal').open && !(${row(3)})`);
    assert.equal(await phones.get(3).register(), 200);
    await until(row(3), 'u3 is back by itself');
  });

  await step('two operators act at once, and the second is told', async () => {
    await open('/registrations?number=u5');
    await until(row(5));
    await page(`${row(5)}.querySelector('[data-modal]').click()`);
    await until(`document.querySelector('#modal').open`);
    const [action, field] = await page(`(() => {
      const form = document.querySelector('#modal form');
      return [form.getAttribute('action'), form.querySelector('[name=binding]').value];
    })()`);
    const other = await fetch(url + action, {
      method: 'POST',
      headers: { origin: url, 'content-type': 'application/x-www-form-urlencoded' },
      body: new URLSearchParams({ binding: field }),
    });
    assert.equal(other.status, 200);
    await click('#modal button[type=submit]');
    await until(shows('#toast', 'had no such registration any more'));
  });

  await step('a form of another site is refused', async () => {
    const headers = { 'content-type': 'application/x-www-form-urlencoded' };
    for (const origin of ['http://attacker.example', 'null']) {
      const post = { method: 'POST', headers: { ...headers, origin }, body: '' };
      const answer = await fetch(`${url}/registrations/u6@example.com/unregister`, post);
      assert.equal(answer.status, 403, origin);
    }
    await open('/registrations?number=u6');
    await until(row(6));
  });

  await step('a suspension is seen and lifted', async () => {
    const wrong = await Phone.start(target, 9, 'Guesser', 'guess');
    for (let tries = 0; tries < 40 && (await wrong.register()) !== 403; tries += 1);
    wrong.close();
    await open('/suspended');
    await until(shows('#live-part tbody', 'u9@example.com'));
    await click('td.act [data-modal]');
    await until(`document.querySelector('#modal').open && ${shows('#modal', 'u9@example.com')}`);
    await click('#modal button[type=submit]');
    await until(shows('#toast', 'is lifted'));
    await until(shows('.empty', 'Nobody is suspended'));
    assert.equal(await phones.get(9).register(), 200);
  });

  await step('a source is blocked and free again', async () => {
    await open('/blocked');
    await fill('#source', '198.51.100.7');
    await click('.filters button[type=submit]');
    await until(`document.querySelector('#modal').open && ${shows('#modal', '198.51.100.7')}`);
    await click('#modal button[type=submit]');
    await until(`document.querySelector('#modal [data-outcome], #toast:not(:empty)')`);
    await page(`document.querySelector('#modal [data-close]')?.click()`);
    await until(shows('#live-part tbody', '198.51.100.7'));
    await picture('blocked-one');
    await click('td.act [data-modal]');
    await until(shows('#modal', 'is heard again'));
    await click('#modal button[type=submit]');
    await until(shows('.empty', 'No source is blocked'));
    await fill('#source', 'nonsense');
    await click('.filters button[type=submit]');
    await until(shows('#toast.bad', 'expected an address'));
  });

  await step('a parameter is set, and who saw another value is told', async () => {
    await open('/parameters?q=registrar.retry_after_jitter');
    await until(shows('#live-part tbody', 'registrar.retry_after_jitter'));
    await click('td.act [data-modal]');
    await until(`document.querySelector('#modal').open && document.querySelector('#value')`);
    // Somebody else is faster.
    const headers = { 'content-type': 'application/json' };
    const faster = await fetch(`${url}/api/v1/parameters/registrar.retry_after_jitter`, {
      method: 'PUT', headers, body: JSON.stringify({ value: '40' }),
    });
    assert.equal(faster.status, 200, await faster.text());
    await fill('#value', '30');
    await click('#modal button[type=submit]');
    await until(`document.querySelector('#toast.bad')?.textContent`, 'the conflict is told');
    await open('/parameters?set=1');
    await until(shows('#live-part tbody td', '40'));
    await click('td.act [data-modal]');
    await until(`document.querySelector('#value')`);
    await fill('#value', '101');
    await click('#modal button[type=submit]');
    await until(shows('#toast.bad', '0-100'));
    await fill('#value', '30');
    await click('#modal button[type=submit]');
    await until(`document.querySelector('#modal [data-outcome], #toast:not(.bad):not(:empty)')`);
    await open('/parameters?set=1');
    await until(shows('#live-part tbody td', '30'));
  });

  await step('what is found is taken along as a file', async () => {
    await open('/registrations?number=u4,u7');
    const link = await page(`document.querySelector('.heading a[download]').href`);
    const text = await (await fetch(link)).text();
    assert.equal(text.trim().split('\n').length, 3, text);
  });

  await step('all that match are shown, and then go', async () => {
    await open('/registrations?number=u11,u12');
    await until(`document.querySelectorAll('tr[data-row]').length === 2`);
    await click('.heading [data-modal]');
    await until(shows('#modal', '2 registrations match'));
    await click('#modal button[type=submit]');
    await until(shows('#modal [data-outcome]', 'being taken out'));
    await open('/unregister/run');
    await until(shows('.card .tag', 'done'));
    for (const number of [11, 12]) {
      assert.equal(await phones.get(number).register(), 200);
    }
  });

  await step('the course of things is drawn and told', async () => {
    await open('/trends?show=traffic');
    await until(`document.querySelector('.uplot canvas')`, 'a chart of what was measured');
    await open('/failed');
    await until(shows('#live-part tbody', 'u9@example.com'));
    await open('/devices');
    await until(`document.querySelector('.measure rect')`);
    await open('/audit?q=u3');
    await until(shows('#live-part tbody', 'unregister'));
  });

  await step('what is not there is a page for people and a problem for programs', async () => {
    await open('/nothing');
    await until(shows('#problem h1', 'no such page'));
    const answer = await fetch(`${url}/api/v1/nothing`, { headers: { accept: 'text/html' } });
    assert.equal(answer.headers.get('content-type'), 'application/problem+json');
  });

  await step('every page reads well: light, dark, on a phone', async () => {
    await open('/');
    const paths = await page(`[...document.querySelectorAll('nav a')].map((a) => a.pathname)`);
    assert.ok(paths.length >= 6, `${paths}`);
    const looks = [['light', {}], ['dark', { dark: true }], ['narrow', { width: 390, height: 844 }]];
    for (const path of [...paths, '/registrations/u4@example.com', '/blocked/add?source=192.0.2.1']) {
      for (const [name, how] of looks) {
        await look(how);
        await open(path);
        if (path === '/latency') {
          await until(`document.querySelector('.uplot canvas')`);
        }
        await picture(`${path.replaceAll(/[^a-z]+/g, '-').replaceAll(/^-|-$/g, '') || 'overview'}-${name}`);
        await accessible(`${path} ${name}`);
      }
    }
    await look();
    await open('/registrations');
    await click('tr[data-row] th a');
    await until(`document.querySelector('#drawer').open`);
    await picture('drawer');
    await accessible('the drawer');
  });

  await step('the first operator is made, and nobody comes in without a password', async () => {
    await open('/setup');
    await picture('setup');
    await accessible('/setup');
    const form = async (fields) => {
      for (const [name, value] of Object.entries(fields)) {
        await fill(`main [name=${name}]`, value);
      }
      await page('window.old = true; document.querySelector("main form").requestSubmit()');
      await until('!window.old && document.readyState === "complete"');
    };
    const chosen = { name: 'anna', password: ADMIN, again: ADMIN };
    await form({ ...chosen, code, again: 'another' });
    await until(shows('[role=alert]', 'not the same'));
    await form({ ...chosen, code });
    await until(shows('.who', 'anna'));
    await log_out();
    await open('/registrations?number=u4');
    await until(`location.pathname === '/login' && ${shows('h1', 'Log in')}`);
    await picture('login');
    await accessible('/login');
    await form({ name: 'anna', password: 'not the one' });
    await until(shows('[role=alert]', 'not right'));
    assert.equal(await page(`document.querySelector('[name=password]').value`), '');
    await form({ password: ADMIN });
    await until(`location.search === '?number=u4' && ${row(4)}`, 'led where she wanted to');
  });

  await step('who only looks sees no controls, and is refused without them', async () => {
    await open('/operators');
    await fill('#o-name', 'rita');
    await fill('#o-password', READER);
    await page(`document.querySelector('#o-password').form.requestSubmit()`);
    await until(shows('#toast', 'rita may come in, with the role read'));
    await until(shows('#live-part tbody', 'rita'));
    await picture('operators');
    await accessible('/operators');
    await log_out();
    await log_in('rita', READER);
    await until(shows('.who', 'rita'));
    assert.equal(await page(`document.body.innerText.includes('Operators')`), false);
    await open('/registrations?number=u4');
    await until(row(4));
    assert.equal(await page(`document.querySelectorAll('[data-modal]').length`), 0);
    const post = (csrf) =>
      page(`fetch('/registrations/u4@example.com/unregister', { method: 'POST',
        body: new URLSearchParams({ csrf: ${csrf} }) }).then(({ status }) => status)`);
    assert.equal(await post('document.body.dataset.csrf'), 403, 'the role is not enough');
    await open('/operators');
    await until(shows('#problem-detail', 'the role admin is needed'));
    await log_out();
    await log_in('anna', ADMIN);
    await open('/registrations?number=u4');
    assert.equal(await post('"0"'), 403, 'not a form of this session');
    assert.equal(await post('document.body.dataset.csrf'), 200);
    assert.equal(await phones.get(4).register(), 200);
  });

  await step('who guesses a password is locked out', async () => {
    await log_out();
    for (let tries = 0; tries < 12; tries += 1) {
      await log_in('rita', `guess ${tries}`);
      if (await page(shows('[role=alert]', 'wait'))) {
        break;
      }
    }
    await until(shows('[role=alert]', 'wait'));
    await picture('locked-out');
    await log_in('rita', READER);
    await until(shows('[role=alert]', 'wait'), 'the right one does not open either');
  });

  await step('nothing was stopped by the content policy and no script failed', async () => {
    assert.deepEqual(faults, []);
  });
} finally {
  isBusy = false;
  await busy;
  phones.forEach((phone) => phone.close());
  clearTimeout(late);
  await browser.kill();
}
