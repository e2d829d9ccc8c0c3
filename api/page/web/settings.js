// What is set on the page. It lives in the address's fragment, which no browser sends, and nowhere else.

/** Every setting, with what it is where nothing is set; all are texts. */
const unset = {
  model: "",
  method: "",
  layer: "",
  head: "",
  fusion: "",
  discard: "",
  class: "",
  versus: "",
  patch: "", // row,column that asks
  evidence: "",
  colors: "",
  alpha: "65",
  smooth: "1",
  map: "1",
  corruption: "",
  severity: "",
  beside: "", // model of the second view; "": none
  besideClass: "",
};

/** @typedef {typeof unset} Settings */
/** @typedef {keyof Settings} Name */

/** What only changes how an answer is painted. */
const looks = new Set(["colors", "alpha", "smooth", "map"]);

/** @type {Settings} */
export const settings = { ...unset };

/** @type {((painted: boolean, names: Set<string>) => void)[]} */
const listeners = [];

/**
 * onSettings has f called with what has changed; painted says that it changes no answer.
 * @param {(painted: boolean, names: Set<string>) => void} f
 */
export function onSettings(f) {
  listeners.push(f);
}

/** @param {Partial<Settings>} part */
export function change(part) {
  /** @type {Set<string>} */
  const names = new Set();
  for (const [key, v] of Object.entries(part)) {
    const name = /** @type {Name} */ (key);
    if (settings[name] === v) continue;
    settings[name] = v;
    names.add(name);
  }
  if (!names.size) return;
  history.replaceState(null, "", fragment() || location.pathname + location.search);
  tell(names);
}

/** @param {Set<string>} names */
function tell(names) {
  const painted = [...names].every((n) => looks.has(n));
  for (const f of listeners) f(painted, names);
}

/** fragment is the settings that are set, as an address has them. */
function fragment() {
  const q = new URLSearchParams();
  for (const [key, v] of Object.entries(settings)) {
    if (v !== unset[/** @type {Name} */ (key)]) q.set(key, v);
  }
  return q.size ? "#" + q : "";
}

/** readFragment takes the settings of the address; names that are none are passed over. */
function readFragment() {
  const q = new URLSearchParams(location.hash.slice(1));
  /** @type {Set<string>} */
  const names = new Set();
  for (const key of /** @type {Name[]} */ (Object.keys(unset))) {
    const v = q.get(key) ?? unset[key];
    if (settings[key] === v) continue;
    settings[key] = v;
    names.add(key);
  }
  return names;
}

readFragment();
addEventListener("hashchange", () => {
  const names = readFragment();
  if (names.size) tell(names);
});
