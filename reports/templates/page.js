"use strict";
(() => {
  const ROW = 26, AROUND = 12, MARK = "⚠", DASH = "";
  const LETTERS = JSON.parse(document.getElementById("warnings").textContent);

  // -- figures, written as the suite writes them in its other outputs ------------------------

  const general = (value, digits) => {
    if (value === 0) return "0";
    const [mantissa, power] = value.toExponential(digits - 1).split("e");
    const exponent = Number(power);
    const bare = (text) => (text.includes(".") ? text.replace(/\.?0+$/, "") : text);
    if (exponent >= -4 && exponent < digits) return bare(value.toFixed(digits - 1 - exponent));
    const size = String(Math.abs(exponent)).padStart(2, "0");
    return `${bare(mantissa)}e${exponent < 0 ? "-" : "+"}${size}`;
  };
  const seconds = (value) => {
    if (!Number.isFinite(value)) return DASH;
    for (const [factor, unit] of [[1, "s"], [1e3, "ms"], [1e6, "µs"]]) {
      if (value * factor >= 0.9995) return `${general(value * factor, 3)} ${unit}`;
    }
    return `${general(value * 1e9, 3)} ns`;
  };
  // A half goes to the even number, as in Python.
  const whole = (value) => (Math.abs(value % 1) === 0.5 ? 2 * Math.round(value / 2) : Math.round(value));
  const count = (value) => whole(value).toLocaleString("en-US");
  const WRITERS = {
    "text": String,
    "seconds": seconds,
    "nonzero seconds": (value) => (value ? seconds(value) : DASH),
    "number": (value) => general(value, 3),
    "count": count,
    "calls": (value) => (value === Infinity ? "never" : count(value)),
    "percent": (value) => `${Number((100 * value).toFixed(1))} %`,
    "accuracy": (value) => `${(100 * value).toFixed(2)} %`,
    "share": (value) => `${(100 * value).toFixed(0)} %`,
    "times": (value) => value.toFixed(2),
    "scientific": (value) => value.toExponential(1).replace(/e([+-])(\d)$/, "e$10$2"),
  };
  const written = (kind, value) => (value === null ? DASH : WRITERS[kind](value));
  const letters = (names) => {
    const known = names.split("; ").map((name) => LETTERS[name] || "");
    return MARK + [...new Set(known)].join("");
  };

  // -- what is packed ------------------------------------------------------------------------

  const unpacked = async (text) => {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).text();
  };
  const number = (value) => (value === "inf" ? Infinity : value);

  class Column {
    constructor(packed) {
      Object.assign(this, packed);
      for (const key of ["values", "low", "high"]) if (this[key]) this[key] = this[key].map(number);
      this.isText = this.kind === "text";
    }
    text(row) {
      if (this.isText) return this.words[this.at[row]];
      const median = written(this.kind, this.values[row]);
      if (!median || !this.low || this.low[row] === null) return median;
      return `${median} [${written(this.kind, this.low[row])}, ${written(this.kind, this.high[row])}]`;
    }
    mark(row) {
      return this.marks ? this.marks.words[this.marks.at[row]] : "";
    }
    key(row) {
      return this.isText ? this.words[this.at[row]] : this.values[row];
    }
    compare(one, other) {
      const [a, b] = [this.key(one), this.key(other)];
      if (a === b) return 0;
      if (a === null || a === "") return 2;  // what is not known comes last, both ways
      if (b === null || b === "") return -2;
      return this.isText ? (a < b ? -1 : 1) : a - b < 0 ? -1 : 1;
    }
    choices() {
      const all = [...Array(this.isText ? this.at.length : this.values.length).keys()];
      const found = new Map(all.map((row) => [this.text(row), this.key(row)]));
      const order = (a, b) => (typeof a[1] === "number" ? a[1] - b[1] : a[1] < b[1] ? -1 : 1);
      return [...found].sort(order).map(([text]) => text);
    }
  }

  // -- a grid: only the rows in sight are in the document ------------------------------------

  const element = (name, attributes = {}, ...children) => {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  };
  const isolated = (text) => element("bdi", {}, text);

  class Grid {
    constructor(place, packed) {
      this.place = place;
      this.title = packed.title;
      this.columns = packed.columns.map((each) => new Column(each));
      this.size = packed.rows;
      this.totals = new Set(packed.totals);
      this.filters = new Map();
      this.words = "";
      const name = packed.order.replace(/^-/, "");
      this.order = this.columns.find((each) => each.name === name) || null;
      this.down = packed.order.startsWith("-");
      this.build();
      this.refresh();
    }

    build() {
      const controls = element("div", { "class": "controls" });
      const search = element("input", { type: "search", placeholder: "any text" });
      search.addEventListener("input", () => { this.words = search.value.toLowerCase(); this.refresh(); });
      controls.append(element("label", {}, "find", search));
      for (const column of this.columns.filter((each) => each.filtered)) controls.append(this.choice(column));
      this.counted = element("span", { role: "status" });
      const csv = element("button", { type: "button", "class": "plain" }, "CSV of these rows");
      csv.addEventListener("click", () => download(`${this.title.replace(/[^A-Za-z0-9]+/g, "-")}.csv`, this.csv(), "text/csv"));
      controls.append(this.counted, csv);
      this.heads = new Map(this.columns.map((column) => [column, this.head(column)]));
      this.body = element("tbody");
      const caption = element("caption", { "class": "hidden" }, isolated(this.title));
      const table = element("table", { "aria-rowcount": this.size }, caption,
        element("thead", {}, element("tr", {}, ...this.heads.values())), this.body);
      this.window = element("div", { "class": "window", tabindex: "0", role: "region", "aria-label": this.title }, table);
      this.window.addEventListener("scroll", () => requestAnimationFrame(() => this.draw()));
      this.place.replaceChildren(controls, this.window);
    }

    choice(column) {
      const select = element("select", {}, element("option", { value: "" }, "all"));
      for (const text of column.choices()) select.append(element("option", { value: text }, text));
      if (column.chosen !== null && [...select.options].some((each) => each.value === column.chosen)) {
        select.value = column.chosen;
        this.filters.set(column, column.chosen);
      }
      select.addEventListener("change", () => {
        if (select.value) this.filters.set(column, select.value); else this.filters.delete(column);
        this.refresh();
      });
      return element("label", {}, column.title, select);
    }

    head(column) {
      const button = element("button", { type: "button", title: column.meaning || column.title }, column.title);
      button.addEventListener("click", () => {
        this.down = this.order === column ? !this.down : !column.isText;
        this.order = column;
        this.refresh();
      });
      return element("th", { scope: "col", "aria-sort": "none" }, button);
    }

    refresh() {
      const wanted = [...this.filters];
      const rows = [];
      for (let row = 0; row < this.size; row++) {
        if (wanted.every(([column, text]) => column.text(row) === text) && this.says(row)) rows.push(row);
      }
      if (this.order) {
        const sign = this.down ? -1 : 1;
        rows.sort((a, b) => {
          const apart = this.totals.has(a) - this.totals.has(b);
          if (apart) return apart;
          const found = this.order.compare(a, b);
          return (Math.abs(found) === 2 ? found : sign * found) || a - b;
        });
      }
      this.rows = rows;
      for (const [column, head] of this.heads) {
        head.setAttribute("aria-sort", column !== this.order ? "none" : this.down ? "descending" : "ascending");
      }
      this.counted.textContent = `${count(rows.length)} of ${count(this.size)} rows`;
      this.window.scrollTop = 0;
      this.widen();
      this.drawn = "";
      this.draw();
    }

    says(row) {
      return !this.words || this.columns.some((column) => column.text(row).toLowerCase().includes(this.words));
    }

    // Columns keep their width while the rows in sight change: that of the longest of a sample.
    widen() {
      const step = Math.max(1, Math.floor(this.rows.length / 300));
      for (const [column, head] of this.heads) {
        let longest = 0;
        for (let i = 0; i < this.rows.length; i += step) {
          const row = this.rows[i];
          longest = Math.max(longest, column.text(row).length + (column.mark(row) ? 3 : 0));
        }
        head.style.minWidth = `${Math.min(longest, 40) * 0.98 + 2.4}ch`;
      }
    }

    draw(all = false) {
      const first = all ? 0 : Math.max(0, Math.floor(this.window.scrollTop / ROW) - AROUND);
      const last = all ? Math.min(this.rows.length, 400)
        : Math.min(this.rows.length, first + Math.ceil(this.window.clientHeight / ROW || 20) + 2 * AROUND);
      if (this.drawn === `${first}-${last}`) return;
      this.drawn = `${first}-${last}`;
      const lines = this.rows.slice(first, last).map((row) => this.line(row));
      this.body.replaceChildren(this.space(first), ...lines, this.space(all ? 0 : this.rows.length - last));
    }

    space(rows) {
      const cell = element("td", { colspan: this.columns.length });
      cell.style.height = `${rows * ROW}px`;
      return element("tr", { "class": "space", "aria-hidden": "true" }, cell);
    }

    line(row) {
      const cells = this.columns.map((column) => {
        const text = column.text(row), names = text ? column.mark(row) : "";
        const cell = element("td", column.isText ? { title: text } : { "class": "number" }, isolated(text));
        if (names) cell.append(" ", element("span", { "class": "mark", title: names, "aria-label": `warnings: ${names}` }, letters(names)));
        return cell;
      });
      return element("tr", this.totals.has(row) ? { "class": "total" } : {}, ...cells);
    }

    csv() {
      const quoted = (text) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
      const whole = (column, row) => {
        if (column.isText) return column.text(row);
        const value = column.values[row];
        return value === null ? "" : String(value);
      };
      const lines = this.rows.map((row) => this.columns.map((column) => quoted(whole(column, row))).join(","));
      return [this.columns.map((column) => quoted(column.name)).join(","), ...lines].join("\n") + "\n";
    }
  }

  const download = (file, text, type) => {
    const link = element("a", { href: URL.createObjectURL(new Blob([text], { type })), download: file });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  };

  // A grid that is folded away is read when it is first shown.
  const grids = new Map();
  const show = async (place) => {
    if (grids.has(place)) return;
    grids.set(place, null);
    grids.set(place, new Grid(place, JSON.parse(await unpacked(place.dataset.grid))));
    delete place.dataset.grid;
  };
  const visible = (place) => !place.closest("details:not([open])");
  const showVisible = () => {
    const places = [...document.querySelectorAll(".grid")].filter(visible);
    return Promise.all(places.map(show));
  };
  document.addEventListener("toggle", showVisible, true);

  // -- the rest of the page --------------------------------------------------------------------

  for (const place of document.querySelectorAll(".downloads")) {
    const { file, csv } = place.dataset;
    const svg = element("button", { type: "button", "aria-label": `SVG of ${file}` }, "SVG");
    const data = element("button", { type: "button", "aria-label": `CSV of ${file}` }, "CSV");
    svg.addEventListener("click", () => download(file, alone(place.closest("figure").querySelector("svg")), "image/svg+xml"));
    data.addEventListener("click", async () => download(file.replace(/svg$/, "csv"), await unpacked(csv), "text/csv"));
    place.append(svg, data);
  }
  // A plot by itself has no theme: what follows the page's becomes the colour it has now.
  const alone = (drawn) => {
    const style = getComputedStyle(document.documentElement);
    const text = new XMLSerializer().serializeToString(drawn);
    const fixed = text.replace(/var\((--\w+)\)/g, (_, name) => style.getPropertyValue(name).trim());
    return fixed.replace("currentColor", style.getPropertyValue("--ink").trim());
  };

  const button = document.getElementById("theme"), root = document.documentElement;
  const kept = () => { try { return localStorage.getItem("crossover-theme"); } catch { return null; } };
  const keep = (theme) => { try { localStorage.setItem("crossover-theme", theme); } catch { /* not kept */ } };
  const prefersDark = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : prefersDark.matches);
  const label = () => {
    button.textContent = isDark() ? "☀ light" : "☾ dark";
    button.setAttribute("aria-label", `Show the page ${isDark() ? "light" : "dark"}`);
  };
  if (kept()) root.dataset.theme = kept();
  button.hidden = false;
  button.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; keep(root.dataset.theme); label(); });
  prefersDark.addEventListener("change", label);
  label();

  if (matchMedia("(max-width: 60rem)").matches) document.getElementById("contents").open = false;
  const openTarget = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target instanceof HTMLDetailsElement) target.open = true;
  };
  addEventListener("hashchange", openTarget);
  openTarget();

  // On paper everything is open, and a grid shows its first rows.
  const opened = [];
  addEventListener("beforeprint", () => {
    for (const each of document.querySelectorAll("main details:not([open])")) {
      each.open = true;
      opened.push(each);
    }
    for (const grid of grids.values()) if (grid) grid.draw(true);
  });
  addEventListener("afterprint", () => {
    for (const each of opened.splice(0)) each.open = false;
    for (const grid of grids.values()) if (grid) { grid.drawn = ""; grid.draw(); }
  });

  showVisible();
  window.crossover = { written, grids };
})();
