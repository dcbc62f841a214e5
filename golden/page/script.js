'use strict';
(() => {
 const $ = (s, at = document) => at.querySelector(s), all = (s, at = document) => [...at.querySelectorAll(s)];
 const data = (id) => JSON.parse(document.getElementById(id).textContent);

 // A cell's value: a number where it starts with one, else its text; a dash is nothing.
 const value = (row, i) => {
  const text = row.cells[i].textContent.trim();
  const n = parseFloat(text.replace('−', '-'));
  return text === '–' ? null : Number.isNaN(n) || /^\d[^ ]*[A-Za-z_]/.test(text) ? text : n;
 };
 const compare = (a, b) => a === b ? 0 : a === null ? 1 : b === null ? -1 : typeof a === typeof b ? (typeof a === 'number' ? a - b : a.localeCompare(b, 'en', { numeric: true })) : typeof a === 'number' ? -1 : 1;
 const sort = (table, th) => {
  const i = th.cellIndex, up = th.getAttribute('aria-sort') !== 'ascending', body = table.tBodies[0];
  const rows = [...body.rows].map((row, n) => ({ row, n, v: value(row, i) }));
  rows.sort((a, b) => a.v === null || b.v === null ? compare(a.v, b.v) : (up ? compare(a.v, b.v) : compare(b.v, a.v)) || a.n - b.n);
  all('th[aria-sort]', table.tHead).forEach((x) => x.removeAttribute('aria-sort'));
  th.setAttribute('aria-sort', up ? 'ascending' : 'descending');
  body.append(...rows.map((x) => x.row));
 };
 for (const table of all('table.sortable')) {
  for (const th of table.tHead.rows[0].cells) {
   const b = document.createElement('button');
   b.type = 'button';
   b.append(...th.childNodes);
   th.append(b);
   b.addEventListener('click', () => sort(table, th));
  }
 }

 const items = $('#all'), filter = $('#filter'), mode = $('#mode'), flag = $('#flag'), shown = $('#shown');
 const update = () => {
  const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
  let n = 0;
  for (const row of items.tBodies[0].rows) {
   const name = row.cells[0].textContent.toLowerCase();
   row.hidden = !(words.every((w) => name.includes(w)) && (!mode.value || row.cells[1].textContent === mode.value) && (!flag.value || row.classList.contains(flag.value)));
   n += !row.hidden;
  }
  shown.textContent = n + ' of ' + items.tBodies[0].rows.length;
 };
 $('.controls').hidden = false;
 $('.controls').addEventListener('submit', (e) => e.preventDefault());
 for (const x of [filter, mode, flag]) x.addEventListener('input', update);
 update();

 // The viewer draws one item; previous and next follow the table as it is sorted and filtered.
 const viewer = $('#viewer'), figure = $('#v-figure'), whole = $('#v-whole');
 let at = null;
 const element = (name, attributes) => {
  const e = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
  return e;
 };
 const draw = () => {
  const d = data('d' + at), [w, h] = d.s, unit = Math.max(w, h) / 90;
  const svg = element('svg', { viewBox: (whole.checked ? [0, 0, w, h] : d.z).join(' '), role: 'img', 'aria-label': d.n + '. ' + d.x });
  svg.append(element('image', { href: data('p' + d.p).u, width: w, height: h, preserveAspectRatio: 'none' }));
  const lines = [['t', d.t], ['a', d.a], ['b', d.b]].filter(([layer, path]) => path && $('[data-l=' + layer + ']')?.checked);
  svg.append(element('path', { class: 'under', d: lines.map(([, path]) => path).join('') }), ...lines.map(([layer, path]) => element('path', { class: layer, d: path })));
  if ($('[data-l=m]').checked) {
   const s = whole.checked ? unit : Math.max(d.z[2], d.z[3]) / 90;
   for (const [x0, y0, x1, y1, label] of d.m || []) {
    const path = x0 !== x1 || y0 !== y1 ? `M${x0} ${y0}H${x1}V${y1}H${x0}z` : `M${x0 + 0.5 - s} ${y0 + 0.5}h${2 * s}` + (label ? `M${x0 + 0.5} ${y0 + 0.5 - s}v${2 * s}` : '');
    svg.append(element('path', { class: 'under', d: path }), element('path', { class: 'm', d: path }));
   }
  }
  figure.replaceChildren(svg);
  $('#v-title').textContent = d.n;
  $('#v-text').textContent = d.x;
 };
 const open = (id) => {
  at = id;
  draw();
  if (!viewer.open) viewer.showModal();
 };
 const step = (by) => {
  const list = all('#all tbody tr:not([hidden]) button[data-d]').map((b) => b.dataset.d);
  const i = list.indexOf(at);
  if (list.length) open(list[i < 0 ? 0 : (i + by + list.length) % list.length]);
 };
 document.addEventListener('click', (e) => {
  const b = e.target.closest('button[data-d]');
  if (b) open(b.dataset.d);
 });
 $('#v-prev').addEventListener('click', () => step(-1));
 $('#v-next').addEventListener('click', () => step(1));
 $('#v-close').addEventListener('click', () => viewer.close());
 viewer.addEventListener('keydown', (e) => {
  if (e.key === 'ArrowRight' || e.key === 'ArrowLeft') {
   step(e.key === 'ArrowRight' ? 1 : -1);
   e.preventDefault();
  }
 });
 for (const x of all('.toggles input')) x.addEventListener('input', draw);
})();
