// The log viewer. The server renders rows; this script shows those that are in
// sight, whatever the length of the log: it knows what rows there are, where they
// stand and how they are fetched. logfollow.js follows the end of a log that is
// written, logtools.js is what one does with the lines. A log has parts: the page
// of a build shows all its logs.
"use strict";
(() => {
  const lv = document.getElementById("lv");
  const $ = (sel) => lv.querySelector(sel);
  const chunk = +lv.dataset.chunk, whole = lv.dataset.whole === "1";
  const box = $(".lv-log"), space = document.createElement("div"), block = document.createElement("div");
  const state = $(".lv-state"), where = $(".lv-where");
  const most = 6e6;       // pixels: browsers end between 17 and 33 million
  const kept = 60;        // chunks kept besides those in the page
  const parts = JSON.parse(lv.dataset.parts);
  let top = 0, room = 0, expected = 0, target = null, was = 0;
  // What the scripts of the page share; what else is in it stands at the end, and
  // in the other two.
  const view = window.logview = {unit: 18, list: [], follow: false, query: ""};
  const cache = new Map();
  const number = (n) => n.toLocaleString("en").replaceAll(",", "\u202f");
  const set = (el, text) => { if (el && el.textContent !== text) el.textContent = text; };
  const say = (text) => set(state, text);
  for (const p of parts) p.next = 1;

  // Rows, and the chunks they are in. Chunk -1 of a part is its heading.
  const head = whole ? 1 : 0;
  const chunks = (p) => Math.ceil(p.lines / chunk);
  const size = (b) => b.k < 0 ? 1 : Math.max(0, Math.min(chunk, b.p.lines - b.k * chunk));
  const height = (p) => p.lines + head;
  function before(p, k) { // rows above a chunk
    let n = k < 0 ? 0 : head + k * chunk;
    for (const q of parts) {
      if (q === p) break;
      n += height(q);
    }
    return n;
  }
  const rows = () => parts.reduce((n, p) => n + height(p), 0);
  function at(row) { // the chunk that holds a row
    row = Math.max(0, Math.min(row, rows() - 1));
    for (const p of parts) {
      if (row < height(p)) return get(p, row < head ? -1 : Math.floor((row - head) / chunk));
      row -= height(p);
    }
    return null;
  }
  function beside(b, by) {
    const i = parts.indexOf(b.p), k = b.k + by;
    if (k >= -head && k < chunks(b.p)) return get(b.p, k);
    for (let j = i + by; j >= 0 && j < parts.length; j += by) {
      if (height(parts[j]) > 0) return get(parts[j], by > 0 ? -head : chunks(parts[j]) - 1);
    }
    return null;
  }
  function get(p, k) {
    const id = p.key + ":" + k;
    let b = cache.get(id);
    if (b) {
      cache.delete(id); // to be the youngest
    } else {
      b = {p, k, id, el: document.createElement("div"), lo: 0, hi: 0, old: false, busy: null, drawn: -1};
      b.el.className = "chunk";
      b.above = document.createElement("div");
      b.below = document.createElement("div");
      b.el.append(b.above, b.below);
      if (k < 0) heading(b);
      else b.lo = b.hi = k * chunk;
      size_(b);
    }
    cache.set(id, b);
    for (const [key, c] of cache) {
      if (cache.size <= kept) break;
      if (!c.el.isConnected) cache.delete(key);
    }
    return b;
  }
  function heading(b) {
    const h = document.createElement("h2"), a = document.createElement("a");
    a.href = b.p.path;
    a.textContent = b.p.title;
    h.append(a);
    b.el.classList.add("lv-part");
    b.el.replaceChildren(h);
  }
  // size_ makes room for the rows of a chunk that are not there.
  function size_(b) {
    if (b.k < 0) return;
    const a = Math.max(0, b.lo - b.k * chunk), z = Math.max(0, b.k * chunk + size(b) - b.hi);
    b.above.style.height = a * view.unit + "px";
    b.below.style.height = z * view.unit + "px";
  }
  const lacks = (b) => b.k >= 0 && !b.failed && (b.old || b.lo > b.k * chunk || b.hi < b.k * chunk + size(b));

  // put has rows take their place in their chunk; first is the number of the
  // first, from 0. What stands there from that on is replaced.
  function put(b, els, first) {
    const had = b.hi - b.lo;
    if (first > b.hi || first < b.lo || !had) {
      for (let i = 0; i < had; i++) b.above.nextSibling.remove();
      b.lo = b.hi = first;
    }
    while (b.hi > first) {
      b.below.previousSibling.remove();
      b.hi--;
    }
    b.below.before(...els);
    b.hi += els.length;
    for (const el of els) finish(el);
    size_(b);
  }
  function finish(row) {
    for (const el of row.querySelectorAll("[data-f],[data-b]")) {
      if (el.dataset.f) el.style.setProperty("--f", el.dataset.f);
      if (el.dataset.b) el.style.setProperty("--b", el.dataset.b);
    }
    row.querySelector(".n").tabIndex = -1;
    view.dress(row);
  }
  function parse(html) {
    const t = document.createElement("template");
    t.innerHTML = html;
    return [...t.content.children];
  }
  const lineOf = (row) => +row.id.slice(row.id.lastIndexOf("L") + 1) || 0;

  // What is seen. block lies at top, in a space of a height that stands for all
  // rows; where that is more than a browser can, or rows are of different height,
  // scrolling by little is exact, and by much proportional.
  const tall = () => Math.min(rows() * view.unit, most);
  const seen = () => box.clientHeight;
  const total = () => block.offsetHeight;
  function place() {
    block.style.top = top + "px";
    const last = view.list[view.list.length - 1], end = top + total();
    room = last && !beside(last, 1) ? end : Math.max(tall(), end + seen());
    space.style.height = Math.max(room, 1) + "px";
  }
  function scrollTo(y) {
    box.scrollTop = y;
    expected = box.scrollTop;
  }
  function offset(row) { // where a row is by proportion
    const n = rows() - seen() / view.unit;
    return n <= 0 ? 0 : Math.min(1, row / n) * Math.max(0, tall() - seen());
  }
  function shift(d) { // moves all without anybody seeing it
    if (Math.abs(d) < 0.5) return;
    top += d;
    room += Math.max(0, d);
    space.style.height = Math.max(parseFloat(space.style.height) || 0, top + total() + seen()) + "px";
    block.style.top = top + "px";
    scrollTo(box.scrollTop + d);
  }
  function fill() {
    if (!view.list.length) return;
    jump();
    const y = box.scrollTop, from = y - seen(), to = y + 2 * seen();
    let h;
    while (view.list.length > 1 && top + (h = view.list[0].el.offsetHeight) < from) {
      drop(view.list.shift());
      top += h;
    }
    while (view.list.length > 1 && top + total() - view.list[view.list.length - 1].el.offsetHeight > to) drop(view.list.pop());
    block.style.top = top + "px";
    for (let b; top > from && (b = beside(view.list[0], -1));) {
      view.list.unshift(b);
      block.prepend(b.el);
      size_(b);
      top -= b.el.offsetHeight;
    }
    for (let b; top + total() < to && (b = beside(view.list[view.list.length - 1], 1));) {
      view.list.push(b);
      block.append(b.el);
      size_(b);
    }
    place();
    if (top < 0 || top > 0 && !beside(view.list[0], -1)) {
      shift(-top);
      place();
    }
    was = topRow();
    load();
    tellWhere();
  }
  function drop(b) {
    if (b.busy) b.busy.abort();
    b.el.remove();
  }
  // show has one chunk, and what fits around it, take the place of what was seen.
  function show(b, y) {
    for (const c of view.list) if (c !== b) drop(c);
    view.list = [b];
    block.replaceChildren(b.el);
    size_(b);
    top = y;
    place();
  }
  // keep does something and leaves what is seen where it is.
  function keep(f) {
    const y = box.scrollTop;
    const b = view.list.find((b) => top + b.el.offsetTop + b.el.offsetHeight > y);
    const was = b && b.el.offsetTop;
    f();
    if (b && b.el.isConnected) top += was - b.el.offsetTop;
    place();
  }
  function go(p, line, far) { // line from 1
    const k = Math.floor((line - 1) / chunk), b = get(p, k), i = (line - 1) % chunk;
    const row = before(p, k) + i;
    target = {p, line};
    if (far || !view.list.includes(b)) show(b, Math.max(0, offset(Math.max(0, row - seen() / view.unit / 3)) + seen() / 3 - i * view.unit));
    aim();
    fill();
    aim();
  }
  function aim() { // brings the target to where it is looked for
    if (!target) return;
    const k = Math.floor((target.line - 1) / chunk), b = get(target.p, k);
    if (!b.el.isConnected) return;
    const el = rowAt(target.p, target.line);
    const y = el ? el.offsetTop : b.el.offsetTop + ((target.line - 1) % chunk) * view.unit;
    if (el && el.offsetParent !== block) return;
    scrollTo(top + y - seen() / 3);
    if (el && !lacks(b)) target = null;
  }
  const rowAt = (p, line) => document.getElementById((whole ? p.key + "-" : "") + "L" + line);
  function end() {
    const p = parts.findLast((p) => height(p) > 0);
    if (!p) return;
    target = null;
    const b = get(p, Math.max(chunks(p) - 1, -head));
    if (!view.list.includes(b)) {
      show(b, Math.max(0, tall() - size(b) * view.unit));
      scrollTo(room); // first: fill would fill all from where one was
    }
    fill();
    place();
    scrollTo(room);
    fill();
    scrollTo(room);
  }
  function start() {
    const b = at(0);
    if (!b) return;
    target = null;
    show(b, 0);
    scrollTo(0);
    fill();
  }
  // jump shows what is where one has scrolled to, if nothing is there yet. fill
  // may run before the browser tells of the scrolling.
  function jump() {
    const y = box.scrollTop, by = y - expected;
    if (!view.list.length || y + seen() >= top - 1 && y <= top + total() + 1) return;
    const n = rows() - seen() / view.unit, near = Math.abs(by) < 5 * seen(); // a wheel; else it is the scroll bar
    const row = Math.max(0, Math.min(rows() - 1, Math.floor(near ? was + by / view.unit : y / Math.max(1, room - seen()) * n))), b = at(row);
    show(b, y - (row - before(b.p, b.k)) * view.unit);
  }
  let still;
  box.addEventListener("scroll", () => {
    const y = box.scrollTop;
    if (Math.abs(y - expected) > 1.5) target = null;
    if (y < expected - 1.5 && view.follow && y + seen() < room - 2 * view.unit) view.letGo(false);
    jump();
    expected = y;
    fill();
    if (view.running() && !view.follow && atEnd()) view.letGo(true);
    clearTimeout(still);
    still = setTimeout(settle, 200);
  }, {passive: true});
  const atEnd = () => view.list.length && !beside(view.list[view.list.length - 1], 1) && box.scrollTop + seen() >= room - view.unit;
  function settle() { // has the scroll bar say where one is
    if (view.follow || !view.list.length || Math.abs(box.scrollTop - expected) > 1.5) return;
    const d = offset(topRow()) - box.scrollTop;
    if (Math.abs(d) > 2 && view.list[0] && beside(view.list[0], -1) && beside(view.list[view.list.length - 1], 1)) {
      shift(d);
      place();
      scrollTo(box.scrollTop);
    }
  }
  // rowAtY is the row, and what part of it, at a height of the space.
  function rowAtY(y) {
    y -= top;
    const b = view.list.find((b) => b.el.offsetTop + b.el.offsetHeight > y) || view.list[view.list.length - 1];
    if (!b) return 0;
    let i = (y - b.el.offsetTop) / view.unit;
    if (wrapped() && b.hi > b.lo) { // rows are of different height
      i = b.lo - b.k * chunk;
      for (let el = b.above.nextSibling; el !== b.below && el.offsetTop + el.offsetHeight <= y; el = el.nextSibling) i++;
    }
    return before(b.p, b.k) + Math.max(0, Math.min(size(b) - 1, i));
  }
  const topRow = () => rowAtY(box.scrollTop + 1);
  function tellWhere() {
    if (!rows()) return set(where, "no lines yet");
    const row = Math.floor(topRow()), b = at(row);
    const line = b.k < 0 ? 1 : b.k * chunk + row - before(b.p, b.k) + 1;
    const last = Math.min(b.p.lines, line + Math.floor(rowAtY(box.scrollTop + seen() - 2)) - row);
    set(where, (whole ? b.p.title + ", " : "") + "lines " + number(line) + "–" + number(last) + " of " + number(b.p.lines));
  }
  // seat brings a row to the top.
  function seat(row) {
    const b = at(Math.floor(row)), i = Math.floor(row) - before(b.p, b.k);
    show(b, Math.max(0, offset(row) - i * view.unit));
    const el = b.k >= 0 && b.el.children[1 + i - (b.lo - b.k * chunk)];
    scrollTo(top + (el ? el.offsetTop : i * view.unit));
    fill();
  }

  // Fetching, three chunks at a time, those in sight first.
  let loading = 0;
  const headers = {"X-Bothy": "log"};
  function load() {
    const y = box.scrollTop, mid = y + seen() / 2;
    const wanted = view.list.filter((b) => lacks(b) && !b.busy && !(view.follow && hot(b)))
      .sort((a, b) => Math.abs(top + a.el.offsetTop + a.el.offsetHeight / 2 - mid) - Math.abs(top + b.el.offsetTop + b.el.offsetHeight / 2 - mid));
    for (const b of wanted) {
      if (loading >= 3) break;
      bring(b);
    }
  }
  // hot: the end is told by the stream; what it skipped is fetched when it is in sight.
  function hot(b) {
    if (b.old || !b.p.live) return false;
    const y = box.scrollTop, t = top + b.el.offsetTop + b.above.offsetHeight;
    return b.hi > b.lo ? t <= y || b.above.offsetHeight === 0 : top + b.el.offsetTop + b.el.offsetHeight < y;
  }
  function later(b, ms) { // asks again, but not at once
    b.failed = true;
    setTimeout(() => {
      b.failed = false;
      load();
    }, ms);
  }
  async function bring(b) {
    const ask = b.busy = new AbortController();
    loading++;
    try {
      const q = new URLSearchParams(view.query);
      q.set("from", b.k * chunk + 1);
      q.set("n", chunk);
      if (whole) q.set("in", "build");
      const answer = await fetch(b.p.path + "/lines?" + q, {headers, signal: ask.signal});
      const text = await answer.text();
      if (!answer.ok) {
        later(b, answer.status < 500 ? 60000 : 3000);
        return say(text.trim() || "the log cannot be read");
      }
      const lines = +answer.headers.get("X-Lines");
      if (lines > b.p.lines) b.p.lines = lines;
      const els = parse(text), live = new Map();
      for (let el = b.above.nextSibling; el !== b.below; el = el.nextSibling) if (!b.old) live.set(el.id, el);
      for (const el of live.values()) if (lineOf(el) > lineOf(els[els.length - 1] || el)) els.push(el); // came meanwhile
      keep(() => {
        b.lo = b.hi = b.k * chunk;
        while (b.above.nextSibling !== b.below) b.above.nextSibling.remove();
        b.old = false;
        put(b, els, b.k * chunk);
        if (els.length && els.length < size(b) && els[els.length - 1].id === "") b.hi = b.k * chunk + size(b), size_(b); // damaged
      });
      if (target) aim();
    } catch (e) {
      if (e.name !== "AbortError") {
        say("the master cannot be reached");
        later(b, 3000);
      }
    } finally {
      b.busy = null;
      loading--;
      if (b.el.isConnected) {
        if (view.follow) end();
        else fill();
      } else {
        load();
      }
    }
  }

  const wrapped = () => lv.classList.contains("wrap");
  function resized() { // from now on
    let wide = box.clientWidth;
    new ResizeObserver(() => {
      const turned = wide !== box.clientWidth;
      wide = box.clientWidth;
      if (view.follow) end();
      else if (turned && wrapped() && view.list.length) seat(was);
      else fill();
    }).observe(box);
  }

  Object.assign(view, {
    lv, $, chunk, whole, parts, box, space, block, cache, number, set, say, chunks, size_, before,
    get, put, parse, lineOf, fill, keep, go, rowAt, end, start, seat, topRow, tellWhere, seen,
    load, headers, wrapped, resized,
  });
})();
