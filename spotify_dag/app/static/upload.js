const zone = element.querySelector('.sd-drop'), input = element.querySelector('input[type=file]');
const note = element.querySelector('.sd-note');
const value = (id) => { const found = document.querySelector(`#${id} input`); return found ? found.value : ''; };
const checked = (id) => { const found = document.querySelector(`#${id} input[type=checkbox]`); return !!found && found.checked; };
async function send(files) {
  note.textContent = say('upload-sending');
  const form = new FormData();
  for (const file of files) form.append('file', file);
  form.append('consent', checked('sd-consent'));
  if (value('sd-min-shared')) form.append('min_shared', value('sd-min-shared'));
  const artists = zone.dataset.artists, lists = zone.dataset.lists;
  if (value('sd-artists') !== artists) form.append('top_artist_count', value('sd-artists'));
  if (value('sd-lists') !== lists) form.append('playlists_count', value('sd-lists'));
  try {
    const answer = await fetch('/api/v1/users', { method: 'POST', body: form });
    const said = await answer.json();
    note.textContent = answer.ok ? '' : said.detail;
    if (answer.ok) window.sdHandedIn = files;
    if (answer.ok) trigger('submit', { job: said.job });
  } catch (error) { note.textContent = say('upload-failed'); }
  input.value = '';
}
input.addEventListener('change', () => { if (input.files.length) send([...input.files]); });
['dragover', 'dragenter'].forEach((name) => zone.addEventListener(name, (event) => { event.preventDefault(); zone.classList.add('over'); }));
zone.addEventListener('dragleave', () => zone.classList.remove('over'));
zone.addEventListener('drop', (event) => {
  event.preventDefault(); zone.classList.remove('over');
  if (event.dataTransfer.files.length) send([...event.dataTransfer.files]);
});
