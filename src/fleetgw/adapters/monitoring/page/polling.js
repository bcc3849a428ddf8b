// Answers that are asked for again and again.

import { el, setText } from "./dom.js";
import { getJson, show } from "./api.js";

/**
 * Ask for a path, with a pause after each answer, while the page is visible.
 *
 * @param query returns the parameters of the next request
 * @param onAnswer called with each answer, unless a later request has begun meanwhile
 * @param refused called with the error when the gateway does not take the token
 * @returns {element, stop(), now()}: says what the trouble is, if any; ends it; asks at once
 */
export function polling(path, { query = () => ({}), pauseMs, onAnswer, refused }) {
  const trouble = el("p", { class: "trouble" });
  let timer = 0;
  let turn = 0;

  async function ask(mine) {
    try {
      const answer = await getJson(path, query());
      if (mine !== turn) return;
      show(onAnswer, answer);
      setText(trouble, "");
    } catch (error) {
      if (mine !== turn) return;
      if (error.isRefusal) refused(error);
      else setText(trouble, error.text);
    }
  }

  async function now() {
    clearTimeout(timer);
    turn += 1;
    const mine = turn;
    if (!document.hidden) await ask(mine);
    if (mine === turn) timer = setTimeout(now, pauseMs);
  }

  now();
  return {
    element: trouble,
    stop() {
      turn += 1;
      clearTimeout(timer);
    },
    now,
  };
}
