element.addEventListener('click', async (event) => {
  const button = event.target.closest('button[data-kind]'), token = document.querySelector('#sd-token-box input').value.trim();
  if (!button || button.ariaBusy === 'true') return;
  const undo = button.ariaPressed === 'true', said = [{ kind: button.dataset.kind, name: button.dataset.name }];
  const tell = (text) => { element.querySelector('.sd-said').textContent = text; };
  button.ariaBusy = 'true';
  try {
    const answer = await fetch(button.dataset.preferences, {
      method: 'POST', body: JSON.stringify(undo ? { remove: said } : { add: said }),
      headers: { 'Content-Type': 'application/json', ...(token && { 'TOKEN_HEADER': token }) },
    });
    const told = await answer.json();
    if (answer.ok) button.ariaPressed = String(!undo);
    tell(answer.ok
      ? say('counts-said', { count: told.items_left_out, items: told.items }) : told.detail);
  } catch (error) { tell(say('counts-failed')); }
  button.ariaBusy = 'false';
});
