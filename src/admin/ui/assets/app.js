// What pages do by themselves: parts that are kept up to date, a drawer and a dialog instead of
// another page, keys, the theme, charts. Without it every link and every form still works.
(() => {
  'use strict';

  const $ = (selector, root = document) => root.querySelector(selector);
  const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
  const root = document.documentElement;
  root.classList.add('scripted');

  // --- what was chosen here, kept where the browser lets us -----------------------------------

  const kept = {
    read(name) {
      try {
        return localStorage.getItem(name);
      } catch {
        return null;
      }
    },
    write(name, value) {
      try {
        localStorage.setItem(name, value);
      } catch {
        // It holds for this page, then.
      }
    },
  };

  // --- theme ----------------------------------------------------------------------------------

  const systemDark = matchMedia('(prefers-color-scheme: dark)');
  const themeButton = $('#theme');
  const isDark = () => (root.dataset.theme ? root.dataset.theme === 'dark' : systemDark.matches);
  const sayTheme = () => {
    themeButton.textContent = isDark() ? 'Light' : 'Dark';
    themeButton.setAttribute('aria-label', isDark() ? 'Use light colours' : 'Use dark colours');
  };
  themeButton.hidden = false;
  themeButton.addEventListener('click', () => {
    root.dataset.theme = isDark() ? 'light' : 'dark';
    kept.write('aorta-theme', root.dataset.theme);
    sayTheme();
    charts.draw(true);
  });
  systemDark.addEventListener('change', () => {
    sayTheme();
    charts.draw(true);
  });
  sayTheme();

  // --- a line at the foot ---------------------------------------------------------------------

  let toastEnds;
  function say(text, bad = false) {
    const toast = $('#toast');
    toast.textContent = text;
    toast.classList.toggle('bad', bad);
    clearTimeout(toastEnds);
    toastEnds = setTimeout(() => (toast.textContent = ''), bad ? 10000 : 5000);
  }

  // --- parts that are kept up to date ---------------------------------------------------------

  const liveButton = $('#live');
  const isLive = () => liveButton.getAttribute('aria-pressed') === 'true';
  const setLive = (on) => {
    liveButton.setAttribute('aria-pressed', String(on));
    liveButton.textContent = on ? 'Live' : 'Paused';
    liveButton.title = on ? 'The page is kept up to date; stop that' : 'Keep the page up to date';
  };
  liveButton.addEventListener('click', () => {
    setLive(!isLive());
    kept.write('aorta-live', isLive() ? 'on' : 'off');
    if (isLive()) {
      refresh();
    }
  });

  let refreshing = false;
  /** Takes the live part of this page anew, once at a time. */
  async function refresh() {
    const part = $('#live-part');
    if (!part || refreshing) {
      return;
    }
    refreshing = true;
    try {
      await htmx.ajax('GET', location.pathname + location.search, {
        source: part,
        target: part,
        select: '#live-part',
        swap: 'outerHTML',
      });
    } finally {
      refreshing = false;
    }
  }

  /** Nobody's place or choice is taken from under their hands. */
  const isBusy = () => document.hidden || $('dialog[open]') || selection();
  const selection = () => {
    const chosen = getSelection();
    return chosen && !chosen.isCollapsed && $('#live-part')?.contains(chosen.anchorNode);
  };

  function beLive() {
    const part = $('#live-part');
    const every = Number(part?.dataset.refresh);
    if (!every) {
      return;
    }
    setLive(kept.read('aorta-live') !== 'off');
    liveButton.hidden = false;
    setInterval(() => {
      if (isLive() && !isBusy()) {
        refresh();
      }
    }, every);
  }

  // --- drawer and dialog ----------------------------------------------------------------------

  const drawer = $('#drawer');
  const modal = $('#modal');
  /** Whether something was done while a dialog was open, so that the page behind it is old. */
  let changed = false;

  function open(address, dialog) {
    const [body, part] =
      dialog === drawer ? ['#drawer-body', '#details'] : ['#modal-body', '#question'];
    htmx.ajax('GET', address, { target: body, select: part, swap: 'innerHTML' });
  }

  for (const dialog of [drawer, modal]) {
    dialog.addEventListener('close', () => {
      $(dialog === drawer ? '#drawer-body' : '#modal-body').replaceChildren();
      if (changed) {
        changed = false;
        refresh();
      }
    });
    // A click beside it closes it.
    dialog.addEventListener('click', (event) => {
      const box = dialog.getBoundingClientRect();
      const inside =
        event.clientX >= box.left && event.clientX <= box.right &&
        event.clientY >= box.top && event.clientY <= box.bottom;
      if (event.target === dialog && !inside) {
        dialog.close();
      }
    });
  }

  document.addEventListener('click', (event) => {
    const wanted = event.target.closest('a[data-drawer], a[data-modal], [data-close]');
    if (!wanted || event.button || event.ctrlKey || event.metaKey || event.shiftKey) {
      return;
    }
    if (wanted.matches('[data-close]')) {
      const dialog = wanted.closest('dialog');
      if (dialog) {
        event.preventDefault();
        dialog.close();
      }
      return;
    }
    event.preventDefault();
    open(wanted.href, wanted.matches('[data-drawer]') ? drawer : modal);
  });

  document.addEventListener('submit', (event) => {
    const form = event.target;
    if (form.method === 'get') {
      // The address names what was asked, and nothing that was not.
      for (const field of $$('input[name], select[name]', form)) {
        field.disabled = field.value === '';
      }
      const address = `${form.action}?${new URLSearchParams(new FormData(form))}`;
      for (const field of $$('input[name], select[name]', form)) {
        setTimeout(() => (field.disabled = false));
      }
      if (form.matches('[data-modal]')) {
        event.preventDefault();
        open(address, modal);
      }
    }
  });

  document.addEventListener('change', (event) => {
    if (event.target.matches('form[data-instant] select')) {
      event.target.form.requestSubmit();
    }
  });

  // When it has settled: by then forms in it are sent by the script.
  document.addEventListener('htmx:afterSettle', (event) => {
    const { target } = event.detail;
    const dialog = target.closest?.('dialog');
    if (!dialog) {
      charts.draw();
      markRow();
      return;
    }
    const outcome = $('[data-outcome]', target);
    if (outcome) {
      changed = true;
      if (!('stays' in outcome.dataset)) {
        say($('h1', outcome).textContent);
        if (dialog.open) {
          dialog.close();
        } else {
          // The form stood in the page itself.
          target.replaceChildren();
          changed = false;
          refresh();
        }
        // What the drawer shows is old as well.
        if (drawer.open) {
          drawer.close();
        }
        return;
      }
    }
    const title = $('h1, h2', target);
    dialog.setAttribute('aria-label', title?.textContent ?? 'Details');
    if (!dialog.open) {
      dialog.showModal();
    }
  });

  // --- refusals and silence -------------------------------------------------------------------

  document.addEventListener('htmx:responseError', (event) => {
    const { xhr } = event.detail;
    if (xhr.status === 401) {
      location.reload();
      return;
    }
    const page = new DOMParser().parseFromString(xhr.responseText, 'text/html');
    const detail = $('#problem-detail', page)?.textContent;
    say(detail ?? `The server answered ${xhr.status}`, true);
  });
  const reach = $('#reach');
  document.addEventListener('htmx:sendError', () => (reach.hidden = false));
  document.addEventListener('htmx:afterRequest', (event) => {
    if (event.detail.xhr?.status) {
      reach.hidden = true;
    }
  });

  // --- menu and keys --------------------------------------------------------------------------

  const menu = $('#menu');
  menu?.addEventListener('click', () => {
    const isOpen = $('#pages').classList.toggle('open');
    menu.setAttribute('aria-expanded', String(isOpen));
  });

  let at = null;
  /** The row that keys have chosen keeps its mark when its table is taken anew. */
  function markRow() {
    const row = at && document.getElementById(at);
    row?.classList.add('at');
  }
  function step(by) {
    const rows = $$('tr[data-row]');
    if (!rows.length) {
      return;
    }
    const marked = rows.findIndex((row) => row.classList.contains('at'));
    const next = marked < 0 ? 0 : Math.min(Math.max(marked + by, 0), rows.length - 1);
    rows[marked]?.classList.remove('at');
    rows[next].classList.add('at');
    at = rows[next].id || null;
    rows[next].scrollIntoView({ block: 'nearest' });
    $('a, button', rows[next])?.focus({ preventScroll: true });
  }
  document.addEventListener('keydown', (event) => {
    const typing = event.target.closest('input, select, textarea, [contenteditable]');
    if (typing || event.ctrlKey || event.metaKey || event.altKey || $('dialog[open]')) {
      return;
    }
    const search = $('[data-search]');
    if (event.key === '/' && search) {
      event.preventDefault();
      search.focus();
      search.select();
    } else if (event.key === 'j') {
      step(1);
    } else if (event.key === 'k') {
      step(-1);
    }
  });

  // --- charts ---------------------------------------------------------------------------------

  const colour = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  const palette = () => [1, 2, 3, 4, 5, 6, 7, 8].map((number) => colour(`--chart-${number}`));
  /** `12.3 µs` */
  function time(ns) {
    for (const [unit, name] of [[1e9, 's'], [1e6, 'ms'], [1e3, 'µs']]) {
      if (ns >= unit) {
        return `${Number((ns / unit).toPrecision(3))} ${name}`;
      }
    }
    return `${Math.round(ns)} ns`;
  }
  const axis = () => ({
    stroke: colour('--muted'),
    grid: { stroke: colour('--line'), width: 1 },
    ticks: { stroke: colour('--line'), width: 1 },
    font: '12px system-ui, sans-serif',
  });
  const size = (figure) => ({
    width: Math.max(figure.clientWidth - 26, 240),
    height: figure.clientWidth < 600 ? 260 : 360,
  });

  const kinds = {
    /** Time over percentiles, both drawn out: each line has places of its own. */
    percentiles(figure, curves) {
      const places = [...new Set(curves.flatMap((curve) => curve.nines))].sort((a, b) => a - b);
      const lines = curves.map(({ nines, ns }) => {
        const value = new Map(nines.map((nine, at) => [nine, ns[at]]));
        return places.map((place) => value.get(place) ?? undefined);
      });
      const colours = palette();
      const percent = (nines) => {
        const share = 100 - 100 / 10 ** nines;
        return `${Number(share.toFixed(Math.max(0, Math.ceil(nines) - 1)))} %`;
      };
      return [
        {
          ...size(figure),
          scales: { x: { time: false }, y: { distr: 3, log: 10 } },
          axes: [
            {
              ...axis(),
              splits: (plot) => {
                const most = Math.ceil(plot.scales.x.max);
                return [0, Math.log10(2), ...Array.from({ length: most }, (_, at) => at + 1)];
              },
              values: (_, splits) => splits.map(percent),
            },
            { ...axis(), size: 68, values: (_, splits) => splits.map((ns) => (ns && isDecade(ns) ? time(ns) : '')) },
          ],
          series: [
            { label: 'Percentile', value: (_, nines) => (nines == null ? '' : percent(nines)) },
            ...curves.map(({ name }, number) => ({
              label: name,
              stroke: colours[number % colours.length],
              width: name === 'whole' ? 2.5 : 1.5,
              dash: number >= colours.length ? [6, 4] : undefined,
              spanGaps: true,
              points: { show: false },
              value: (_, ns) => (ns == null ? '—' : time(ns)),
            })),
          ],
          cursor: { drag: { x: false, y: false } },
        },
        [places, ...lines],
      ];
    },
    /** Numbers over time; where nothing was measured there is no line. */
    trend(figure, { unit, t, series }) {
      const colours = palette();
      const say = {
        count: (value) => Math.round(value).toLocaleString('en'),
        rate: (value) => `${Number(value.toPrecision(3)).toLocaleString('en')}/s`,
        ns: time,
        bytes: (value) => `${Number((value / 2 ** 20).toPrecision(4))} MiB`,
      }[unit];
      return [
        {
          ...size(figure),
          scales: { y: { range: (_, least, most) => [0, Math.max(most * 1.05, unit === 'ns' ? 1000 : 1)] } },
          axes: [axis(), { ...axis(), size: 76, values: (_, splits) => splits.map(say) }],
          series: [
            {},
            ...series.map(({ name }, number) => ({
              label: name.replaceAll('_', ' '),
              stroke: colours[number % colours.length],
              width: 1.5,
              spanGaps: false,
              value: (_, value) => (value == null ? '—' : say(value)),
            })),
          ],
          cursor: { drag: { x: true, y: false } },
        },
        [t, ...series.map(({ values }) => values)],
      ];
    },
  };
  const isDecade = (value) => Math.abs(Math.log10(value) - Math.round(Math.log10(value))) < 1e-6;

  const charts = {
    drawn: new Map(),
    /** Draws what is new; all of it where colours or room have changed. */
    draw(anew = false) {
      for (const figure of $$('[data-chart]')) {
        const text = document.getElementById(figure.dataset.from)?.dataset.json ?? '[]';
        const before = this.drawn.get(figure);
        if (before?.text === text && !anew) {
          continue;
        }
        const data = JSON.parse(text);
        before?.plot?.destroy();
        this.drawn.delete(figure);
        figure.replaceChildren();
        if (Array.isArray(data) && !data.length) {
          const empty = document.createElement('p');
          empty.className = 'empty';
          empty.textContent = 'Nothing was measured yet.';
          figure.append(empty);
          this.drawn.set(figure, { text });
          continue;
        }
        const [options, values] = kinds[figure.dataset.chart](figure, data);
        this.drawn.set(figure, { text, plot: new uPlot(options, values, figure) });
      }
    },
  };
  let width = innerWidth;
  addEventListener('resize', () => {
    if (innerWidth !== width) {
      width = innerWidth;
      charts.draw(true);
    }
  });

  charts.draw();
  beLive();
})();
