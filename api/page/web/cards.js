// Which models the server has, and what their cards say.
import { ask } from "./server.js";
import { showModels } from "./controls.js";

/** @typedef {import("./types.js").Model} Model */

/** @type {Map<string, Model>} */
const cards = new Map();

/** defaultModel is the id of the model that answers where none is named. */
let defaultModel = "";

/**
 * cardOf is what a model's card says; of one that has been loaded meanwhile it is read anew.
 * @param {string} id "": the default model's
 */
export async function cardOf(id) {
  if (!defaultModel) await meet();
  const name = id || defaultModel;
  const known = cards.get(name);
  if (known?.methods) return known;
  /** @type {Model} */
  const card = await (await ask("v1/models/" + encodeURIComponent(name))).json();
  cards.set(name, card);
  return card;
}

/** @type {Promise<void> | null} */
let meeting = null;

/** meet reads which models there are; whoever asks while it does waits. */
function meet() {
  meeting ??= (async () => {
    const { models } = await (await ask("v1/models")).json();
    defaultModel = models[0].id;
    showModels(models);
  })().finally(() => {
    meeting = null;
  });
  return meeting;
}
