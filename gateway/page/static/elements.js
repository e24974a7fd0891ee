// Elements, made and kept up to date without a single string of markup: names come from configuration files.

const SVG = "http://www.w3.org/2000/svg";

export function html(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

export function svg(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value != null) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

// Text that did not change is left alone, or a selection would not survive the next look.
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function mark(element, name, value) {
  if (value == null || value === "") element.removeAttribute(name);
  else if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

// A table whose rows are used again. A column: {head, title, kind, cell}; `cell` gives of a thing what stands there, a
// string, or {text, tone, title, share}.
export class Table {
  constructor(element, columns, { empty }) {
    this.columns = columns;
    this.body = html("tbody");
    this.empty = html("p", { class: "quiet empty" }, empty);
    this.element = element;
    const heads = columns.map(({ head, title, kind }) => html("th", { scope: "col", class: kind, title }, head));
    element.append(html("thead", {}, html("tr", {}, ...heads)), this.body);
    element.after(this.empty);
  }

  show(things) {
    this.element.hidden = things.length === 0;
    this.empty.hidden = things.length > 0;
    while (this.body.rows.length > things.length) this.body.deleteRow(-1);
    while (this.body.rows.length < things.length) this.body.append(this.row());
    things.forEach((thing, place) => this.fill(this.body.rows[place], thing));
  }

  row() {
    const cells = this.columns.map(({ kind, heads }) =>
      heads ? html("th", { scope: "row", class: kind }) : html("td", { class: kind }));
    return html("tr", {}, ...cells);
  }

  fill(row, thing) {
    this.columns.forEach(({ cell, kind = "" }, place) => {
      const found = cell(thing);
      const { text, tone, title, share } = typeof found === "string" ? { text: found } : found;
      const at = row.cells[place];
      say(at, text);
      mark(at, "data-tone", tone);
      mark(at, "title", title ?? (/name|text/.test(kind) ? text : null)); // such cells may be cut short
      at.classList.toggle("bar", Number.isFinite(share));
      at.style.setProperty("--share", Math.min(1, share || 0));
    });
  }
}
