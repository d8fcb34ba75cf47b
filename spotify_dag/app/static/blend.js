// One blend per tab of the browser: opened with the first person, or by a friend's link, and found again after a reload.
// What is held of guests is the server's; here are the keys by which those who were added here leave again.
const KEPT = 'sd-blend', find = (query) => element.querySelector(query), note = find('.sd-note'), listed = find('.sd-people');
const kept = JSON.parse(sessionStorage.getItem(KEPT) || '{}'), link = new URLSearchParams(location.search).get('blend');
let code = link || kept.code, busy = Promise.resolve();
const people = new Map(kept.code === code ? kept.people : []);
const token = () => document.querySelector('#sd-token-box input')?.value.trim();
async function ask(path, options = {}) {
  const headers = { ...(options.json && { 'Content-Type': 'application/json' }), ...(token() && { 'TOKEN_HEADER': token() }) };
  const body = options.json ? JSON.stringify(options.json) : options.body;
  const answer = await fetch(`/api/v1/blends${path}`, { method: options.method || 'POST', headers, body });
  const said = await answer.json();
  if (!answer.ok) throw Object.assign(new Error(said.detail), { status: answer.status });
  return said;
}
async function look() {
  const { people: present } = await ask(`/${code}`, { method: 'GET' }), keys = new Map(people);
  people.clear();
  for (const { name } of present) people.set(name, keys.get(name) ?? null);
}
async function open() {
  if (!code) code = (await ask('')).code;
  try { await look(); } catch (error) {
    if (error.status === 404) { code = null; people.clear(); }  // It is over: the next to be added opens another one.
    throw error;
  }
}
function show() {
  const invite = find('.sd-invite a');
  if (code) invite.href = `/?blend=${encodeURIComponent(code)}`;
  invite.textContent = invite.href;
  find('.sd-invite').hidden = !code;
  sessionStorage.setItem(KEPT, JSON.stringify(code ? { code, people: [...people] } : {}));
  listed.replaceChildren(...[...people].map(([name, key]) => {
    const row = document.createElement('li'), label = document.createElement('bdi');
    label.textContent = name; row.append(label);
    if (key) {
      const out = document.createElement('button');
      Object.assign(out, { type: 'button', className: 'sd-toggle', textContent: say('blend-out') });
      out.setAttribute('aria-label', say('blend-out-of', { name }));
      out.addEventListener('click', () => work('', async () => { await ask(`/${code}/people/${encodeURIComponent(key)}`, { method: 'DELETE' }); }));
      row.append(' ', out);
    }
    return row;
  }));
}
// One after another: whoever presses twice is not there twice.
function work(telling, task) {
  busy = busy.then(async () => {
    note.textContent = telling;
    let said = '';
    try { await task(); if (code) await look(); } catch (error) {
      said = error instanceof TypeError ? say('failed') : error.message;
    }
    note.textContent = said;
    show();
  });
  return busy;
}
async function addUser(user) {
  await open();
  if (people.has(user)) return;
  const joined = await ask(`/${code}/users`, { json: { user_id: user } });
  people.set(joined.name, joined.key);
}
const sent = new WeakSet();
async function addFiles(files, name) {
  if (sent.has(files[0])) return;
  await open();
  const form = new FormData();
  for (const file of files) form.append('file', file);
  form.append('name', name);
  const joined = await ask(`/${code}/files`, { body: form });
  sent.add(files[0]);
  people.set(joined.name, joined.key);
}
async function make() {
  if (code) await open();
  if (people.size < 2) throw new Error(say('blend-two-needed'));
  const inputs = [...find('.sd-how').querySelectorAll('input')], wrong = inputs.find((input) => !input.checkValidity());
  if (wrong) {
    find('details').open = true;
    wrong.reportValidity();
    throw new Error(say('blend-impossible', { value: wrong.value }));
  }
  const how = Object.fromEntries(inputs.map((input) => [input.name, input.value]));
  trigger('submit', { code, tracks: +how.tracks, known: how.known / 100, without: how.without });
}
find('.sd-pick').addEventListener('submit', (event) => {
  event.preventDefault();
  const input = event.target.elements.who, user = input.value.trim();
  if (user) work(say('blend-adding'), () => addUser(user)).then(() => { if (people.has(user)) input.value = ''; });
});
find('input[type=file]').addEventListener('change', (event) => {
  const files = [...event.target.files];
  if (files.length) work(say('blend-reading'), () => addFiles(files, files[0].name.replace(/\.\w+$/, ''))).then(() => { event.target.value = ''; });
});
find('[data-make]').addEventListener('click', () => work(say('blend-making'), make));
find('[data-copy]').addEventListener('click', async () => {
  const link = find('.sd-invite a');
  // A page without https may not copy: the link is marked then.
  try { await navigator.clipboard.writeText(link.href); find('[data-copy]').textContent = say('blend-copied'); } catch (error) {
    getSelection().selectAllChildren(link); note.textContent = say('blend-marked');
  }
});
// "Blend with them" on the card of a match: see pick.js.
function take() {
  const wish = window.sdBlend;
  if (!wish) return;
  window.sdBlend = null;
  work(say('blend-adding'), async () => {
    await (wish.asker ? addUser(wish.asker) : addFiles(window.sdHandedIn, say('blend-you')));
    await addUser(wish.user);
    await make();
  });
}
document.addEventListener('sd-blend', take);
// Friends join meanwhile.
document.addEventListener('visibilitychange', () => { if (code && !document.hidden) work(note.textContent, open); });
if (code) work('', open);
take();
