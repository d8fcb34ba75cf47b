// Fields that name a listener offer those who are here; "Add" puts a found track into the playlist that is continued.
const fields = '.sd-who input, .sd-who textarea, input[list=sd-listeners]';
let asked = null, pause = 0;
async function offer(input) {
  // A link is not the beginning of an id.
  if (asked === input.value || /[/:]/.test(input.value)) return;
  asked = input.value;
  try {
    const answer = await fetch(`/api/v1/listeners?q=${encodeURIComponent(asked)}`);
    if (!answer.ok || asked !== input.value) return;
    const { listeners } = await answer.json();
    element.querySelector('datalist').replaceChildren(...listeners.map((one) => new Option(one.genres.join(', '), one.user_id)));
  } catch (error) { /* Whoever knows the name can type it. */ }
}
for (const kind of ['focusin', 'input']) document.addEventListener(kind, (event) => {
  if (!event.target.matches(fields)) return;
  event.target.setAttribute('list', 'sd-listeners');
  // One question for what is typed at a stretch.
  clearTimeout(pause);
  pause = setTimeout(() => offer(event.target), 150);
});
// A tab is made when it is opened for the first time: what is meant for one waits until then.
function pick(track, off) {
  const seeds = document.querySelector('#sd-seeds textarea');
  if (!seeds) return false;
  const others = seeds.value.split('\n').filter((line) => line && line !== track);
  seeds.value = (off ? others : [...others, track]).join('\n');
  seeds.dispatchEvent(new Event('input', { bubbles: true }));
  return true;
}
const waiting = new Set();
new MutationObserver(() => { for (const track of waiting) if (pick(track)) waiting.delete(track); })
  .observe(document.body, { childList: true, subtree: true });
document.addEventListener('click', (event) => {
  const picked = event.target.closest('button[data-pick]'), blended = event.target.closest('button[data-blend]');
  if (picked) {
    const off = picked.ariaPressed === 'true', track = picked.dataset.pick;
    if (!pick(track, off)) waiting[off ? 'delete' : 'add'](track);
    picked.ariaPressed = String(!off);
  }
  if (blended) {
    window.sdBlend = { user: blended.dataset.blend, asker: blended.dataset.asker };
    // On a narrow screen the tab is in the menu of those that have no room: there it has its text, and no id.
    [...document.querySelectorAll('button[role=tab], .overflow-dropdown button')].find((tab) => tab.textContent.trim() === say('tab-blend')).click();
    document.dispatchEvent(new Event('sd-blend'));
  }
});
