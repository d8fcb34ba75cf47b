// One blend per page: opened with the first person, or by a friend's link. What is held of guests is the server's.
const find = (query) => element.querySelector(query), note = find('.sd-note'), listed = find('.sd-people');
const people = new Map();
let code = new URLSearchParams(location.search).get('blend'), busy = Promise.resolve();
const token = () => document.querySelector('#sd-token-box input')?.value.trim();
async function ask(path, options = {}) {
  const headers = { ...(options.json && { 'Content-Type': 'application/json' }), ...(token() && { 'TOKEN_HEADER': token() }) };
  const body = options.json ? JSON.stringify(options.json) : options.body;
  const answer = await fetch(`/api/v1/blends${path}`, { method: options.method || 'POST', headers, body });
  const said = answer.status === 204 ? {} : await answer.json();
  if (!answer.ok) throw new Error(said.detail);
  return said;
}
async function open() {
  if (!code) code = (await ask('')).code;
  const link = find('.sd-invite a');
  link.href = `/?blend=${encodeURIComponent(code)}`; link.textContent = link.href;
  find('.sd-invite').hidden = false;
}
function show() {
  listed.replaceChildren(...[...people].map(([name, key]) => {
    const row = document.createElement('li'), label = document.createElement('bdi');
    label.textContent = name; row.append(label);
    if (key) {
      const out = document.createElement('button');
      Object.assign(out, { type: 'button', className: 'sd-toggle', textContent: 'Take out' });
      out.setAttribute('aria-label', `Take ${name} out`);
      out.addEventListener('click', () => work('', async () => { await ask(`/${code}/people/${encodeURIComponent(key)}`, { method: 'DELETE' }); people.delete(name); }));
      row.append(' ', out);
    }
    return row;
  }));
}
// One after another: whoever presses twice is not there twice.
function work(telling, task) {
  busy = busy.then(async () => {
    note.textContent = telling;
    try { await task(); note.textContent = ''; } catch (error) {
      note.textContent = error instanceof TypeError ? 'That did not work. Is the connection gone? Try again.' : error.message;
    }
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
  const present = code ? (await ask(`/${code}`, { method: 'GET' })).people : [];
  for (const { name } of present) if (!people.has(name)) people.set(name, null);
  if (people.size < 2) throw new Error('Add at least two people.');
  const how = Object.fromEntries([...find('.sd-how').querySelectorAll('input')].map((input) => [input.name, input.value]));
  trigger('submit', { code, tracks: +how.tracks, known: how.known / 100, without: how.without });
}
find('.sd-pick').addEventListener('submit', (event) => {
  event.preventDefault();
  const input = event.target.elements.who, user = input.value.trim();
  if (user) work('Adding …', () => addUser(user)).then(() => { if (people.has(user)) input.value = ''; });
});
find('input[type=file]').addEventListener('change', (event) => {
  const files = [...event.target.files];
  if (files.length) work('Reading the file …', () => addFiles(files, files[0].name.replace(/\.\w+$/, ''))).then(() => { event.target.value = ''; });
});
find('[data-make]').addEventListener('click', () => work('Making the list …', make));
find('[data-copy]').addEventListener('click', async () => {
  const link = find('.sd-invite a');
  // A page without https may not copy: the link is marked then.
  try { await navigator.clipboard.writeText(link.href); find('[data-copy]').textContent = 'Copied'; } catch (error) {
    getSelection().selectAllChildren(link); note.textContent = 'It is marked: copy it with Ctrl+C.';
  }
});
// "Blend with them" on the card of a match: see pick.js.
function take() {
  const wish = window.sdBlend;
  if (!wish) return;
  window.sdBlend = null;
  work('Adding …', async () => {
    await (wish.asker ? addUser(wish.asker) : addFiles(window.sdHandedIn, 'You'));
    await addUser(wish.user);
    await make();
  });
}
document.addEventListener('sd-blend', take);
if (code) work('', async () => {
  await open();
  for (const { name } of (await ask(`/${code}`, { method: 'GET' })).people) people.set(name, null);
});
take();
