// What one does with the lines of the log viewer: choosing, searching, copying
// them, how they look, and by which keys. It has the page begin.
"use strict";
(() => {
  const view = window.logview;
  const {
    lv, $, chunk, whole, parts, box, space, block, cache, number, set, say, before, get, put,
    lineOf, go, rowAt, end, start, seat, topRow, tellWhere, seen, load, headers, wrapped, resized,
    running, letGo, attend, follower,
  } = view;
  const params = new URLSearchParams(location.search);
  view.dress = (row) => { // one that comes into the page
    if (times === "absolute") clock(row);
    choose(row);
  };

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
    view.query = q ? new URLSearchParams(re ? {q, re: "1"} : {q}).toString() : "";
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
          const answer = await fetch(p.path + "/search?" + view.query + "&from=" + next, {headers, signal: f.ask.signal});
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
    if (find && view.query === new URLSearchParams(regex.checked ? {q: input.value, re: "1"} : {q: input.value}).toString() && input.value) step(e.submitter && e.submitter.dataset.do === "previous" ? -1 : 1);
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
    if (!view.list.length) return;
    if (view.follow) return end();
    seat(row);
  }
  const does = {
    first: () => { letGo(false); start(); },
    last: () => { if (running()) letGo(true); else end(); },
    follow: () => letGo(!view.follow),
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
  const by = (n) => () => { box.scrollBy(0, n * view.unit); };
  const page = (n) => () => { box.scrollBy(0, n * (seen() - 2 * view.unit)); };
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
  view.unit = probe.getBoundingClientRect().height || view.unit;
  probe.remove();
  view.query = params.get("q") ? new URLSearchParams(params.get("re") ? {q: params.get("q"), re: "1"} : {q: params.get("q")}).toString() : "";
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
    const p = parts[0], k = Math.floor((Math.min(+params.get("from"), p.lines) - 1) / chunk);
    seat(before(p, k));
  } else start();
  tellWhere();
  if (view.query) search(!params.get("from") && !chosen);
  attend();
  resized();
  lv.dataset.ready = "1";
})();
