const KEY = 'sd-playlist';
function tell(text) {
  let place = element.querySelector('.sd-save output');
  if (!place) {
    element.insertAdjacentHTML('afterbegin', '<p class="sd-message sd-save"><output></output></p>');
    place = element.querySelector('.sd-save output');
  }
  place.textContent = text;
}
async function save(wanted, mayAsk) {
  tell(say('save-adding'));
  try {
    const answer = await fetch('/api/v1/playlists', {
      method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(wanted),
    });
    const said = await answer.json();
    if ((answer.status === 401 || answer.status === 403) && mayAsk) {
      sessionStorage.setItem(KEY, JSON.stringify(wanted));
      location.href = '/login?playlists=true&after=' + encodeURIComponent('/?saved=PAGE');
      return;
    }
    const missing = answer.ok && said.left_out.length ? ` ${say('save-missing', { count: said.left_out.length })}` : '';
    tell(answer.ok ? say('save-done', { title: said.title, count: said.tracks }) + missing : said.detail);
  } catch (error) { tell(say('save-failed')); }
}
element.addEventListener('click', (event) => {
  const button = event.target.closest('button[data-playlist]');
  if (button) save(JSON.parse(button.dataset.playlist), true);
});
// Back from Spotify, where somebody was asked whether this app may add playlists.
const waiting = new URLSearchParams(location.search).get('saved') === 'PAGE' && sessionStorage.getItem(KEY);
if (waiting) { sessionStorage.removeItem(KEY); save(JSON.parse(waiting), false); }
