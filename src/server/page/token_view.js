// An answer's tokens, shaded by how likely the model held each; the tooltip names the runners-up.
import {el} from "./dom.js";
import {number} from "./text.js";

const kShades = [0.9, 0.5, 0.2, 0.05];

const percent = (logprob) => `${number(Math.exp(logprob) * 100, 1)} %`;
const visible = (token) => JSON.stringify(token);

export function draw_tokens(target, tokens) {
  const nodes = tokens.map(({token, logprob, top}) => {
    const probability = Math.exp(logprob);
    const shade = kShades.findIndex((limit) => probability >= limit);
    const others = top.map((other) => `${visible(other.token)} ${percent(other.logprob)}`);
    return el("span", {class: `token shade-${shade === -1 ? kShades.length : shade}`, title: [`${visible(token)} ${percent(logprob)}`, "", ...others].join("\n")}, token);
  });
  target.replaceChildren(el("div", {class: "tokens"}, ...nodes));
}
