const texts = TEXTS, lang = document.documentElement.lang;
// A text with a count has a form for each kind of number. Values go in as they are, for textContent.
function say(id, values = {}) {
  const text = texts[id], form = typeof text === 'string' ? text : text[new Intl.PluralRules(lang).select(values.count)];
  return form.replace(/\{(\w+)\}/g, (_, name) => (typeof values[name] === 'number' ? values[name].toLocaleString(lang) : values[name]));
}
