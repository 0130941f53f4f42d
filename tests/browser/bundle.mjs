// JsSIP as npm installs it is CommonJS modules; a page takes one script. This puts the modules a
// package reaches into one, and nothing else: no minifying, no syntax changed.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

/** The file a `require` in `from` means, in a browser. */
function resolve(name, from) {
  const require = createRequire(from);
  if (!name.startsWith('.')) {
    const manifest = require.resolve(`${name}/package.json`);
    const { browser } = JSON.parse(readFileSync(manifest, 'utf8'));
    if (typeof browser === 'string') {
      return join(dirname(manifest), browser);
    }
    // A package of that name goes before Node's own module: `events`.
    return require.resolve(`${name}/`);
  }
  return require.resolve(name);
}

/** One script that defines `global` as what `name` exports. */
export function bundle(name, global) {
  const modules = new Map();
  const add = (file) => {
    if (modules.has(file)) {
      return modules.get(file).id;
    }
    const module = { id: modules.size, source: readFileSync(file, 'utf8'), requires: {} };
    modules.set(file, module);
    if (file.endsWith('.json')) {
      module.source = `module.exports = ${module.source}`;
      return module.id;
    }
    for (const [, wanted] of module.source.matchAll(/\brequire\(['"]([^'"]+)['"]\)/g)) {
      module.requires[wanted] = add(resolve(wanted, file));
    }
    return module.id;
  };
  const entry = add(resolve(name, import.meta.url));
  const bodies = [...modules.values()].map(
    ({ source, requires }) =>
      `[function (module, exports, require) {${source}\n}, ${JSON.stringify(requires)}]`,
  );
  return `(() => {
    const bodies = [${bodies.join(',\n')}];
    const loaded = [];
    const load = (id) => {
      if (!loaded[id]) {
        const module = (loaded[id] = { exports: {} });
        const [body, requires] = bodies[id];
        body(module, module.exports, (name) => load(requires[name]));
      }
      return loaded[id].exports;
    };
    globalThis.process ??= { env: {} };
    globalThis.${global} = load(${entry});
  })();`;
}
