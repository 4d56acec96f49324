// Small line plots in SVG: time to the right, the latest value at the right edge.
import {el, svg} from "./dom.js";
import {number} from "./text.js";

const kWidth = 320;
const kHeight = 96;

// The next of 1, 2, 5 times a power of ten: a scale that does not jump with every sample.
export function nice_limit(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return power * [1, 2, 5, 10].find((step) => step * power >= value * 0.999999);
}

// A plot of some series over the same moments; limit: the fixed top of the scale, or 0 for one that fits.
export class Plot {
  constructor(title, {names, unit, limit = 0, moments}) {
    Object.assign(this, {names, unit, limit, moments});
    this.lines = names.map((_, i) => svg("path", {class: `line series-${i}`}));
    this.area = svg("path", {class: "area"});
    this.top = el("span", {class: "limit"});
    this.legend = el("div", {class: "legend"});
    this.values = names.map(() => el("strong"));
    names.forEach((name, i) => this.legend.append(el("span", {class: `key series-${i}`}, this.values[i], name ? el("span", {t: name}) : null)));
    const grid = [0.5, kHeight / 2, kHeight - 0.5].map((y) => svg("path", {class: "grid", d: `M0 ${y}H${kWidth}`}));
    this.picture = svg("svg", {viewBox: `0 0 ${kWidth} ${kHeight}`, preserveAspectRatio: "none", role: "img"}, ...grid, this.area, ...this.lines);
    this.node = el("figure", {class: "plot"}, el("figcaption", {}, el("span", {t: title}), this.legend), el("div", {class: "canvas"}, this.picture, this.top));
  }

  // samples: [[value or null of each series]], oldest first.
  draw(samples) {
    const shown = samples.slice(-this.moments);
    const highest = Math.max(0, ...shown.flat().filter((value) => value !== null));
    const limit = this.limit || nice_limit(highest);
    this.top.textContent = `${number(limit, limit < 1 ? 1 : 0)} ${this.unit}`;
    this.names.forEach((_, i) => {
      const points = shown.map((values, k) => [kWidth * (this.moments - shown.length + k) / (this.moments - 1), values[i]]);
      this.lines[i].setAttribute("d", path_of(points, limit));
      // Two areas over each other would be hard to read.
      if (this.names.length === 1) this.area.setAttribute("d", area_of(points, limit));
      const last = shown[shown.length - 1]?.[i] ?? null;
      this.values[i].textContent = last === null ? "–" : `${number(last, last < 10 && last % 1 !== 0 ? 1 : 0)} ${this.unit}`;
    });
    this.picture.ariaLabel = `${this.node.querySelector("figcaption span").textContent}: ${this.values.map((value) => value.textContent).join(", ")}`;
  }
}

const height_of = (value, limit) => (kHeight - 1 - (kHeight - 3) * Math.min(1, value / limit)).toFixed(1);

// Unknown values leave a gap.
function path_of(points, limit) {
  let path = "";
  let pen = "M";
  for (const [x, value] of points) {
    if (value === null) pen = "M";
    else {
      path += `${pen}${x.toFixed(1)} ${height_of(value, limit)}`;
      pen = "L";
    }
  }
  return path;
}

function area_of(points, limit) {
  const known = points.filter(([, value]) => value !== null);
  if (known.length < 2) return "";
  return `${path_of(known, limit)}L${known[known.length - 1][0].toFixed(1)} ${kHeight}L${known[0][0].toFixed(1)} ${kHeight}Z`;
}
