// The log viewer. The server renders rows; this script shows those that are in
// sight, whatever the length of the log, follows its end, and searches through
// the server. A log has parts: the page of a build shows all its logs.
"use strict";
(() => {
  const lv = document.getElementById("lv");
  if (!lv) return;
  const $ = (sel) => lv.querySelector(sel);
  const chunk = +lv.dataset.chunk, whole = lv.dataset.whole === "1";
  const box = $(".lv-log"), space = document.createElement("div"), block = document.createElement("div");
  const state = $(".lv-state"), where = $(".lv-where"), skipBox = $(".lv-skip");
  const most = 6e6;       // pixels: browsers end between 17 and 33 million
  const kept = 60;        // chunks kept besides those in the page
  const patience = 25000; // logview_follow.go: something comes every 10 s
  const params = new URLSearchParams(location.search);
  let parts = JSON.parse(lv.dataset.parts), over = lv.dataset.over === "1";
  let unit = 18, list = [], top = 0, room = 0, expected = 0, follow = false, target = null, was = 0, query = "";
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
    b.above.style.height = a * unit + "px";
    b.below.style.height = z * unit + "px";
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
    if (times === "absolute") clock(row);
    choose(row);
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
  const tall = () => Math.min(rows() * unit, most);
  const seen = () => box.clientHeight;
  const total = () => block.offsetHeight;
  function place() {
    block.style.top = top + "px";
    const last = list[list.length - 1], end = top + total();
    room = last && !beside(last, 1) ? end : Math.max(tall(), end + seen());
    space.style.height = Math.max(room, 1) + "px";
  }
  function scrollTo(y) {
    box.scrollTop = y;
    expected = box.scrollTop;
  }
  function offset(row) { // where a row is by proportion
    const n = rows() - seen() / unit;
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
    if (!list.length) return;
    const y = box.scrollTop, from = y - seen(), to = y + 2 * seen();
    let h;
    while (list.length > 1 && top + (h = list[0].el.offsetHeight) < from) {
      drop(list.shift());
      top += h;
    }
    while (list.length > 1 && top + total() - list[list.length - 1].el.offsetHeight > to) drop(list.pop());
    block.style.top = top + "px";
    for (let b; top > from && (b = beside(list[0], -1));) {
      list.unshift(b);
      block.prepend(b.el);
      size_(b);
      top -= b.el.offsetHeight;
    }
    for (let b; top + total() < to && (b = beside(list[list.length - 1], 1));) {
      list.push(b);
      block.append(b.el);
      size_(b);
    }
    place();
    if (top < 0 || top > 0 && !beside(list[0], -1)) {
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
    for (const c of list) if (c !== b) drop(c);
    list = [b];
    block.replaceChildren(b.el);
    size_(b);
    top = y;
    place();
  }
  // keep does something and leaves what is seen where it is.
  function keep(f) {
    const y = box.scrollTop;
    const b = list.find((b) => top + b.el.offsetTop + b.el.offsetHeight > y);
    const was = b && b.el.offsetTop;
    f();
    if (b && b.el.isConnected) top += was - b.el.offsetTop;
    place();
  }
  function go(p, line, far) { // line from 1
    const k = Math.floor((line - 1) / chunk), b = get(p, k), i = (line - 1) % chunk;
    const row = before(p, k) + i;
    target = {p, line};
    if (far || !list.includes(b)) show(b, Math.max(0, offset(Math.max(0, row - seen() / unit / 3)) + seen() / 3 - i * unit));
    aim();
    fill();
    aim();
  }
  function aim() { // brings the target to where it is looked for
    if (!target) return;
    const k = Math.floor((target.line - 1) / chunk), b = get(target.p, k);
    if (!b.el.isConnected) return;
    const el = rowAt(target.p, target.line);
    const y = el ? el.offsetTop : b.el.offsetTop + ((target.line - 1) % chunk) * unit;
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
    if (!list.includes(b)) {
      show(b, Math.max(0, tall() - size(b) * unit));
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
  let still;
  box.addEventListener("scroll", () => {
    const y = box.scrollTop;
    if (Math.abs(y - expected) > 1.5) target = null;
    if (y < expected - 1.5 && follow && y + seen() < room - 2 * unit) letGo(false);
    const by = y - expected;
    expected = y;
    if (list.length && (y + seen() < top - 1 || y > top + total() + 1)) {
      const n = rows() - seen() / unit, near = Math.abs(by) < 5 * seen(); // a wheel; else it is the scroll bar
      const row = Math.max(0, Math.min(rows() - 1, Math.floor(near ? was + by / unit : y / Math.max(1, room - seen()) * n))), b = at(row);
      show(b, y - (row - before(b.p, b.k)) * unit);
    }
    fill();
    if (running() && !follow && atEnd()) letGo(true);
    clearTimeout(still);
    still = setTimeout(settle, 200);
  }, {passive: true});
  const atEnd = () => list.length && !beside(list[list.length - 1], 1) && box.scrollTop + seen() >= room - unit;
  function settle() { // has the scroll bar say where one is
    if (follow || !list.length) return;
    const d = offset(topRow()) - box.scrollTop;
    if (Math.abs(d) > 2 && list[0] && beside(list[0], -1) && beside(list[list.length - 1], 1)) {
      shift(d);
      place();
      scrollTo(box.scrollTop);
    }
  }
  // rowAtY is the row, and what part of it, at a height of the space.
  function rowAtY(y) {
    y -= top;
    const b = list.find((b) => b.el.offsetTop + b.el.offsetHeight > y) || list[list.length - 1];
    if (!b) return 0;
    let i = (y - b.el.offsetTop) / unit;
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
    show(b, Math.max(0, offset(row) - i * unit));
    const el = b.k >= 0 && b.el.children[1 + i - (b.lo - b.k * chunk)];
    scrollTo(top + (el ? el.offsetTop : i * unit));
    fill();
  }

  // Fetching, three chunks at a time, those in sight first.
  let loading = 0;
  const headers = {"X-Bothy": "log"};
  function load() {
    const y = box.scrollTop, mid = y + seen() / 2;
    const wanted = list.filter((b) => lacks(b) && !b.busy && !(follow && hot(b)))
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
      const q = new URLSearchParams(query);
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
      say.lost = false;
    } catch (e) {
      if (e.name !== "AbortError") {
        say("the master cannot be reached");
        later(b, 3000);
      }
    } finally {
      b.busy = null;
      loading--;
      if (b.el.isConnected) {
        if (follow) end();
        else fill();
      } else {
        load();
      }
    }
  }

  // Following.
  const running = () => parts.some((p) => !p.done) || whole && !over;
  const follower = $("[data-do=follow]");
  function letGo(on) {
    follow = on;
    if (follower) follower.setAttribute("aria-pressed", on);
    lv.classList.toggle("following", on);
    if (on) end();
  }
  function got(p, m) {
    const grown = m.total > p.lines;
    p.lines = Math.max(p.lines, m.total);
    const els = parse(m.rows), first = m.first - 1;
    let next = first;
    for (const el of els) if (!el.classList.contains("open")) next = lineOf(el);
    p.next = Math.max(p.next, next + 1);
    if (m.skipped) {
      skipBox.hidden = false;
      p.skipped = (p.skipped || 0) + m.skipped;
      const a = document.createElement("a");
      a.href = "#" + (whole ? p.key + "-" : "") + "L" + (m.first - m.skipped);
      a.textContent = "skipped " + number(m.skipped) + " lines";
      a.title = "lines " + number(m.first - m.skipped) + " to " + number(m.first - 1) + " came too fast to be shown; " + number(p.skipped) + " so far. Follow the link to read them.";
      skipBox.replaceChildren(a);
    }
    const change = () => {
      for (let i = 0; i < els.length;) {
        const k = Math.floor((first + i) / chunk), n = Math.min(els.length - i, (k + 1) * chunk - first - i), b = get(p, k);
        if (follow || b.el.isConnected || b.hi === first + i) put(b, els.slice(i, i + n), first + i);
        i += n;
      }
      for (const b of list) if (b.p === p) size_(b);
    };
    if (m.done) p.done = true;
    if (follow) {
      change();
      end();
    } else {
      keep(change);
      if (grown && list.length) fill();
      else if (!list.length) start();
    }
    facts(m);
  }
  function facts(m) {
    const p = parts[0];
    if (whole) return;
    set($(".lv-lines"), number(p.lines) + (p.lines === 1 ? " line" : " lines"));
    if (p.done) lv.classList.remove("live-log");
  }
  let stream = null;
  async function listen(p) {
    if (p.done || document.hidden || stream) return;
    const ask = stream = new AbortController();
    p.live = true;
    let pause = 500, last;
    const watch = () => { clearTimeout(last); last = setTimeout(() => ask.abort(), patience); };
    try {
      watch();
      const answer = await fetch(p.path + "/follow?from=" + p.next + (whole ? "&in=build" : ""), {headers, signal: ask.signal});
      if (answer.status >= 400 && answer.status < 500) {
        say((await answer.text()).trim());
        p.done = p.refused = true;
        return;
      }
      if (!answer.ok) throw new Error(answer.statusText);
      const reader = answer.body.getReader(), decoder = new TextDecoder();
      let text = "";
      for (;;) {
        const {value, done} = await reader.read();
        if (done) break;
        watch();
        if (listen.lost) say("");
        listen.lost = 0;
        text += decoder.decode(value, {stream: true});
        const lines = text.split("\n");
        text = lines.pop();
        for (const line of lines) if (line) got(p, JSON.parse(line));
        if (p.done) break;
      }
    } catch { /* cut, or given up: below */ } finally {
      clearTimeout(last);
      ask.abort();
      p.live = false;
      if (stream === ask) stream = null;
    }
    if (p.done) {
      if (!whole) letGo(false);
      if (!p.refused) ended(p);
      return;
    }
    if (document.hidden) return;
    listen.lost = (listen.lost || 0) + 1;
    pause = Math.min(5000, 250 * 2 ** listen.lost);
    if (listen.lost > 1) say("the connection was lost; trying again …");
    setTimeout(attend, pause);
  }
  function ended(p) {
    if (follower && !running()) follower.hidden = true;
    for (const b of list) if (b.p === p && b.k === chunks(p) - 1) b.old = true; // lines that were open have their numbers now
    fill();
    if (!whole) say("the log is finished");
    else if (!over) attend();
  }
  // attend follows what is written now; the page of a build asks for new logs.
  let asking = false;
  async function attend() {
    const p = parts.findLast((p) => !p.done);
    if (document.hidden) return;
    if (p) return listen(p);
    if (!whole || over || asking) return;
    asking = true;
    try {
      const answer = await fetch(lv.dataset.partsAt, {headers});
      const now = await answer.json();
      over = now.over;
      for (const q of now.parts) {
        const p = parts.find((p) => p.key === q.key);
        if (p) {
          p.lines = Math.max(p.lines, q.lines);
        } else {
          parts.push(Object.assign(q, {next: 1}));
        }
      }
      if (follow) end();
      else fill();
      if (over && parts.every((p) => p.done)) {
        letGo(false);
        if (follower) follower.hidden = true;
        say("the build is finished");
        return;
      }
    } catch { say("the master cannot be reached"); } finally { asking = false; }
    setTimeout(attend, parts.some((p) => !p.done) ? 0 : 1500);
  }
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      if (stream) stream.abort();
    } else {
      attend();
    }
  });

  // Chosen lines: #L10, #L10-L20; of a build: #S2-stdio-L10.
  let chosen = null;
  function read() {
    const hash = location.hash.slice(1), lines = /^L(\d+)(?:-L?(\d+))?$/;
    chosen = null;
    for (const p of parts) {
      const m = lines.exec(!whole ? hash : hash.startsWith(p.key + "-") ? hash.slice(p.key.length + 1) : "");
      if (m) return chosen = {p, a: Math.min(+m[1], +(m[2] || m[1])), z: Math.max(+m[1], +(m[2] || m[1]))};
    }
    return null;
  }
  function choose(row) {
    const n = lineOf(row);
    row.classList.toggle("chosen", !!chosen && n >= chosen.a && n <= chosen.z && (!whole || row.id.startsWith(chosen.p.key + "-L")));
  }
  function mark() {
    for (const row of block.querySelectorAll(".r")) choose(row);
  }
  function visit() {
    if (!read()) return mark();
    letGo(false);
    chosen.a = Math.max(1, Math.min(chosen.a, chosen.p.lines || 1));
    go(chosen.p, chosen.a);
    mark();
  }
  addEventListener("hashchange", visit);
  box.addEventListener("click", (e) => {
    const n = e.target.closest(".n");
    if (!n || e.ctrlKey || e.metaKey) return;
    e.preventDefault();
    const row = n.closest(".r"), line = lineOf(row);
    const p = whole ? parts.find((p) => row.id.startsWith(p.key + "-L")) : parts[0];
    if (!line || !p) return;
    let to = "L" + line;
    if (e.shiftKey && chosen && chosen.p === p) {
      const from = line < chosen.a ? chosen.z : chosen.a;
      to = "L" + Math.min(from, line) + "-L" + Math.max(from, line);
      getSelection().removeAllRanges();
    }
    const url = new URL(location.href);
    if (!whole) url.searchParams.set("from", Math.floor((line - 1) / chunk) * chunk + 1);
    url.hash = (whole ? p.key + "-" : "") + to;
    history.replaceState(null, "", url);
    read();
    mark();
    say(chosen.a === chosen.z ? "line " + number(line) : "lines " + number(chosen.a) + " to " + number(chosen.z));
  });

  // Search.
  const form = $(".lv-find"), input = form.elements.q, regex = form.elements.re;
  const limit = 100000;
  let find = null;
  async function search(jump) {
    if (find) find.ask.abort();
    const q = input.value, re = regex.checked;
    query = q ? new URLSearchParams(re ? {q, re: "1"} : {q}).toString() : "";
    const url = new URL(location.href);
    for (const k of ["q", "re", "after"]) url.searchParams.delete(k);
    if (q) url.searchParams.set("q", q);
    if (q && re) url.searchParams.set("re", "1");
    history.replaceState(null, "", url);
    lv.classList.toggle("finding", !!q);
    for (const b of cache.values()) b.old = true;
    if (!q) {
      find = null;
      say("");
      return load();
    }
    const f = find = {ask: new AbortController(), hits: [], count: 0, at: -1, done: false, far: 0};
    const here = Math.floor(topRow());
    let jumped = !jump;
    try {
      for (const p of [...parts]) {
        for (let next = 1, done = false; !done;) {
          const answer = await fetch(p.path + "/search?" + query + "&from=" + next, {headers, signal: f.ask.signal});
          if (!answer.ok) return say((await answer.text()).trim());
          const r = await answer.json();
          for (const line of r.lines) if (f.hits.length < limit) f.hits.push({p, line});
          f.count += r.count;
          f.far = r.total ? Math.floor(100 * (r.next - 1) / r.total) : 100;
          done = r.done || r.next <= next && !r.lines.length && r.next > r.total;
          next = r.next;
          if (!jumped && f.hits.some((h) => row(h) >= here)) {
            jumped = true;
            hit(f.hits.findIndex((h) => row(h) >= here));
          }
          tellFind();
        }
      }
      f.done = true;
      if (!jumped && f.hits.length) hit(0);
      tellFind();
    } catch (e) {
      if (e.name !== "AbortError") say("the search was cut off: the master cannot be reached");
    }
    load();
  }
  const row = (h) => before(h.p, 0) + h.line - 1;
  function tellFind() {
    const f = find;
    if (!f) return;
    const of_ = number(f.count) + (f.count === 1 ? " line matches" : " lines match");
    const more = f.count > f.hits.length ? " (the first " + number(f.hits.length) + " can be visited)" : "";
    say(!f.count && f.done ? "no line matches" : (f.at >= 0 ? number(f.at + 1) + " of " : "") + of_ + more + (f.done ? "" : ", searching … " + f.far + " %"));
  }
  function hit(i) {
    const h = find && find.hits[i];
    if (!h) return;
    find.at = i;
    letGo(false);
    for (const el of block.querySelectorAll(".r.hit")) el.classList.remove("hit");
    go(h.p, h.line);
    const show = () => { const el = rowAt(h.p, h.line); if (el) el.classList.add("hit"); return el; };
    if (!show()) setTimeout(show, 300);
    tellFind();
  }
  function step(by) {
    if (!find || !find.hits.length) return;
    const n = find.hits.length;
    hit(((find.at < 0 ? (by > 0 ? -1 : 0) : find.at) + by + n) % n);
  }
  form.addEventListener("submit", (e) => {
    e.preventDefault();
    if (find && query === new URLSearchParams(regex.checked ? {q: input.value, re: "1"} : {q: input.value}).toString() && input.value) step(e.submitter && e.submitter.dataset.do === "previous" ? -1 : 1);
    else search(true);
    if (e.submitter === null) input.focus();
  });
  input.addEventListener("search", () => { if (!input.value && find) search(false); });
  async function firstError() {
    say("looking for the first error …");
    for (const p of parts) {
      for (let next = 1, done = false; !done;) {
        const answer = await fetch(p.path + "/error?from=" + next, {headers});
        if (!answer.ok) return say((await answer.text()).trim());
        const r = await answer.json();
        if (r.lines.length) {
          letGo(false);
          location.hash = (whole ? p.key + "-" : "") + "L" + r.lines[0];
          visit();
          return say("line " + number(r.lines[0]) + " looks like the first error");
        }
        done = r.done || r.next > r.total;
        next = r.next;
      }
    }
    say("nothing looks like an error");
  }

  // Copying what a terminal would show.
  const copyMost = 8 << 20;
  async function copy() {
    const c = chosen, texts = [];
    const all = c ? [c.p] : parts;
    let bytes = 0;
    for (const p of all) {
      const answer = await fetch(p.path + "/text" + (c ? "?from=" + c.a + "&n=" + (c.z - c.a + 1) : ""), {headers});
      const reader = answer.body.getReader(), decoder = new TextDecoder();
      for (;;) {
        const {value, done} = await reader.read();
        if (done) break;
        bytes += value.length;
        if (bytes > copyMost) {
          reader.cancel();
          return say("this is too much to copy; choose lines by their numbers (with Shift for the last one), or download the log");
        }
        texts.push(decoder.decode(value, {stream: true}));
      }
    }
    const text = texts.join("");
    try {
      await navigator.clipboard.writeText(text);
    } catch { // not over plain HTTP
      const t = document.createElement("textarea");
      t.value = text;
      t.className = "sr";
      document.body.append(t);
      t.select();
      const ok = document.execCommand("copy");
      t.remove();
      if (!ok) return say("the browser does not let this page copy");
    }
    say(c ? "copied lines " + number(c.a) + " to " + number(c.z) : "copied");
  }

  // How lines look.
  const store = {get: (k) => { try { return localStorage.getItem("log-" + k); } catch { return null; } },
    set: (k, v) => { try { localStorage.setItem("log-" + k, v); } catch { /* private */ } }};
  let times = params.get("times") || store.get("times") || "";
  const modes = ["", "relative", "absolute"];
  function setTimes(mode) {
    times = mode;
    for (const m of modes) lv.classList.toggle("t-" + (m || "none"), m === mode);
    const b = $("[data-do=times]");
    if (b) set(b.querySelector("span"), "Times: " + (mode || "none"));
    if (mode === "absolute") block.querySelectorAll(".r").forEach(clock);
  }
  function clock(row) {
    const t = row.querySelector("time"), d = t && new Date(t.dateTime);
    if (d && t.dateTime) t.textContent = d.toTimeString().slice(0, 8) + "." + String(d.getMilliseconds()).padStart(3, "0");
  }
  function setWrap(on) {
    const row = topRow();
    lv.classList.toggle("wrap", on);
    const b = $("[data-do=wrap]");
    if (b) b.setAttribute("aria-pressed", on);
    if (!list.length) return;
    if (follow) return end();
    seat(row);
  }
  const wrapped = () => lv.classList.contains("wrap");
  const does = {
    first: () => { letGo(false); start(); },
    last: () => { if (running()) letGo(true); else end(); },
    follow: () => letGo(!follow),
    wrap: () => { setWrap(!wrapped()); store.set("wrap", wrapped() ? "1" : ""); },
    times: () => { setTimes(modes[(modes.indexOf(times) + 1) % 3]); store.set("times", times); },
    error: () => firstError().catch(() => say("the master cannot be reached")),
    copy: () => copy().catch(() => say("the master cannot be reached")),
    next: () => step(1),
    previous: () => step(-1),
  };
  lv.addEventListener("click", (e) => {
    const b = e.target.closest("[data-do]");
    if (!b || b.type === "submit") return;
    e.preventDefault();
    does[b.dataset.do]();
  });

  // Keyboard.
  const by = (n) => () => { box.scrollBy(0, n * unit); };
  const page = (n) => () => { box.scrollBy(0, n * (seen() - 2 * unit)); };
  const keys = {
    j: by(1), k: by(-1), ArrowDown: by(1), ArrowUp: by(-1), " ": page(1), PageDown: page(1), PageUp: page(-1),
    g: does.first, G: does.last, Home: does.first, End: does.last,
    n: does.next, N: does.previous, f: () => running() && does.follow(), w: does.wrap, t: does.times, e: does.error, c: does.copy,
  };
  document.addEventListener("keydown", (e) => {
    if (e.ctrlKey || e.metaKey || e.altKey || document.querySelector("dialog[open]")) return;
    if (e.target.matches("input:not([type=checkbox]),textarea,select")) return;
    if (e.target.matches("button,a,summary,[type=checkbox]") && (e.key === " " || e.key === "Enter")) return;
    const f = keys[e.key];
    if (!f) return;
    f();
    if (e.key !== "g") e.preventDefault(); // g and a letter lead to pages
  });
  const map = document.querySelector("#keymap .keymap");
  if (map) {
    for (const [k, text] of [["g", "first line"], ["G", "last line, and follow"], ["n N", "next, previous match"], ["f", "follow"],
      ["e", "first error"], ["w", "wrap"], ["t", "times"], ["c", "copy the chosen lines"]]) {
      const div = document.createElement("div"), dt = document.createElement("dt"), dd = document.createElement("dd");
      for (const one of k.split(" ")) {
        const kbd = document.createElement("kbd");
        kbd.textContent = one;
        dt.append(kbd, " ");
      }
      dd.textContent = text;
      div.append(dt, dd);
      map.append(div);
    }
  }

  // What the page came with is taken over.
  const given = [...box.querySelectorAll(".r[id]")];
  const probe = document.createElement("div");
  probe.className = "r";
  probe.textContent = "x";
  lv.classList.add("on");
  space.className = "lv-space";
  block.className = "lv-block";
  space.append(block);
  box.replaceChildren(space);
  block.append(probe);
  unit = probe.getBoundingClientRect().height || unit;
  probe.remove();
  query = params.get("q") ? new URLSearchParams(params.get("re") ? {q: params.get("q"), re: "1"} : {q: params.get("q")}).toString() : "";
  setTimes(modes.includes(times) ? times : "");
  read();
  const groups = new Map();
  for (const row of given) {
    const p = whole ? parts.find((p) => row.id.startsWith(p.key + "-L")) : parts[0], n = lineOf(row) - 1;
    if (!p) continue;
    const k = Math.floor(n / chunk), id = p.key + ":" + k;
    if (!groups.has(id)) groups.set(id, {p, k, first: n, els: []});
    groups.get(id).els.push(row);
  }
  for (const {p, k, first, els} of groups.values()) {
    put(get(p, k), els, first);
    for (const el of els) if (!el.classList.contains("open")) p.next = Math.max(p.next, lineOf(el) + 1);
  }
  const narrow = matchMedia("(max-width: 45rem)").matches ? "1" : "";
  setWrap(!!(params.get("wrap") || (store.get("wrap") ?? narrow)));
  if (follower) follower.hidden = !running();
  if (chosen) visit();
  else if (running() && !params.get("from")) letGo(true);
  else if (params.get("from") && !whole && parts[0].lines) {
    const b = get(parts[0], Math.floor((Math.min(+params.get("from"), parts[0].lines) - 1) / chunk));
    show(b, offset(before(b.p, b.k)));
    scrollTo(top);
    fill();
  } else start();
  tellWhere();
  if (query) search(!params.get("from") && !chosen);
  attend();
  let wide = box.clientWidth;
  new ResizeObserver(() => {
    const turned = wide !== box.clientWidth;
    wide = box.clientWidth;
    if (follow) end();
    else if (turned && wrapped() && list.length) seat(was);
    else fill();
  }).observe(box);
  lv.dataset.ready = "1";
})();
