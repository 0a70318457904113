// What a page does beyond showing: it keeps its panels up to date, lets times
// tick, sends forms without leaving, and listens to the keyboard. A page works
// without any of it.
"use strict";
(() => {
  const body = document.body, root = body.dataset.root;
  const $ = (sel, in_ = document) => in_.querySelector(sel);
  const $$ = (sel, in_ = document) => [...in_.querySelectorAll(sel)];

  // Times. The clock of the server counts.
  const skew = +body.dataset.now - Date.now();
  const two = (a, ua, b, ub) => a + " " + ua + (b > 0 ? " " + b + " " + ub : "");

  function took(ms) { // as took in format.go
    const s = Math.max(0, ms) / 1000, i = Math.floor(s);
    if (s < 0.1) return Math.floor(s * 1000) + " ms";
    if (s < 10) return (Math.floor(s * 10) / 10).toFixed(1) + " s";
    if (s < 60) return i + " s";
    if (s < 3600) return two(Math.floor(i / 60), "min", i % 60, "s");
    if (s < 86400) return two(Math.floor(i / 3600), "h", Math.floor(i % 3600 / 60), "min");
    return two(Math.floor(i / 86400), "d", Math.floor(i % 86400 / 3600), "h");
  }

  function ago(ms) { // as agoText
    const s = Math.floor(Math.max(0, ms) / 1000);
    if (s < 5) return "now";
    if (s < 60) return s + " s ago";
    if (s < 3600) return Math.floor(s / 60) + " min ago";
    if (s < 172800) return Math.floor(s / 3600) + " h ago";
    return Math.floor(s / 86400) + " d ago";
  }

  function left(ms) { // as worker.Countdown
    const s = Math.ceil(Math.max(0, ms) / 1000), parts = [];
    for (const [n, unit] of [[Math.floor(s / 3600), "h"], [Math.floor(s / 60) % 60, "min"], [s % 60, "s"]]) {
      if (n > 0) parts.push(n + " " + unit);
    }
    return parts.join(" ") || "0 s";
  }

  const pad = (n) => String(n).padStart(2, "0");
  function moment(ms) {
    const d = new Date(ms);
    return d.getFullYear() + "-" + pad(d.getMonth() + 1) + "-" + pad(d.getDate()) + " " +
      pad(d.getHours()) + ":" + pad(d.getMinutes()) + ":" + pad(d.getSeconds());
  }

  function tick(in_ = document) {
    const now = Date.now() + skew;
    for (const t of $$("time", in_)) {
      const d = t.dataset;
      let text;
      if (d.ago) text = ago(now - d.ago);
      else if (d.elapsed) text = took(now - d.elapsed);
      else if (d.left) text = left(d.left - now);
      else if (d.moment) text = moment(+d.moment);
      else if (d.clock) text = moment(+d.clock).slice(11, 16);
      else continue;
      if (t.textContent !== text) t.textContent = text;
      if (!t.dataset.local) {
        t.dataset.local = "1";
        t.title = moment(+(d.ago || d.elapsed || d.left || d.moment || d.clock));
      }
    }
    for (const p of $$("progress[data-from]", in_)) {
      const share = (now - p.dataset.from) / p.dataset.expect;
      p.value = Math.min(share, 0.98);
    }
  }
  tick();
  setInterval(() => document.hidden || tick(), 1000);

  // morph makes an element what a new one is, and leaves alone what is the same:
  // focus, selection and scrolling stay.
  function morph(old, new_) {
    if (old.isEqualNode(new_)) return;
    for (const a of [...old.attributes]) {
      if (!new_.hasAttribute(a.name) && !keeps(old, a.name)) old.removeAttribute(a.name);
    }
    for (const a of new_.attributes) {
      if (old.getAttribute(a.name) !== a.value && !keeps(old, a.name)) old.setAttribute(a.name, a.value);
    }
    if (old.hasAttribute("data-keep")) return;
    const keyed = new Map();
    for (const n of old.childNodes) if (key(n)) keyed.set(key(n), n);
    let at = old.firstChild;
    for (const n of [...new_.childNodes]) {
      let same = key(n) ? keyed.get(key(n)) : alike(at, n) ? at : null;
      if (key(n)) keyed.delete(key(n));
      if (!same) {
        old.insertBefore(n, at);
        continue;
      }
      if (same === at) at = at.nextSibling;
      else old.insertBefore(same, at);
      if (n.nodeType === Node.ELEMENT_NODE) morph(same, n);
      else if (same.data !== n.data) same.data = n.data;
    }
    while (at) {
      const next = at.nextSibling;
      at.remove();
      at = next;
    }
  }
  const key = (n) => n.nodeType === Node.ELEMENT_NODE ? n.id || n.dataset.key || "" : "";
  const alike = (a, b) => a && a.nodeName === b.nodeName && !key(a);
  const keeps = (el, name) => name === "open" && el.matches("details,dialog") ||
    name === "value" && el === document.activeElement || name === "data-local";

  // Panels.
  let version = body.dataset.version, wanted = new Set(), fetching = false;

  function changed(topics) {
    for (const p of $$("[data-live]")) {
      const on = p.dataset.live.split(" ");
      if (topics === "*" || topics.split(" ").some((t) => on.includes(t))) wanted.add(p.id);
    }
    refresh();
  }

  async function refresh() {
    if (fetching || document.hidden || !wanted.size) return;
    fetching = true;
    const ids = [...wanted], began = Date.now();
    wanted.clear();
    const url = new URL(location.href);
    url.hash = "";
    url.searchParams.delete("note");
    url.searchParams.set("panel", ids.join());
    try {
      const answer = await fetch(url, {headers: {"X-Bothy": "panel"}});
      if (answer.status === 401 || answer.status === 403) return location.reload();
      if (answer.ok) {
        version = answer.headers.get("X-Version") || version;
        show(await answer.text());
      }
      live(true);
    } catch {
      for (const id of ids) wanted.add(id);
      live(false);
    }
    const rest = Math.max(250 - (Date.now() - began), live.on ? 0 : 2000);
    setTimeout(() => { fetching = false; refresh(); }, rest);
  }

  function show(html) {
    const t = document.createElement("template");
    t.innerHTML = html;
    for (const n of [...t.content.children]) {
      const old = document.getElementById(n.id);
      if (!old) continue;
      tick(n);
      morph(old, n);
      tick(old);
    }
    choose();
    document.dispatchEvent(new CustomEvent("bothy:shown"));
  }

  function live(on) {
    live.on = on;
    const el = $("#live");
    if (!el || !$("[data-live]")) return;
    el.hidden = false;
    el.classList.toggle("lost", !on);
    const text = on ? "live" : "not live";
    if (el.lastElementChild.textContent !== text) el.lastElementChild.textContent = text;
  }

  function heard(m) {
    if (m.hello) {
      const [v, sum] = m.hello.split(" ");
      live(true);
      if (sum && sum !== body.dataset.sum && !$(":focus:is(input,textarea,select)")) return location.reload();
      if (v !== version) changed("*");
    } else if (m.topics) {
      changed(m.topics);
    } else if (m.lost) {
      live(false);
    }
    document.dispatchEvent(new CustomEvent("bothy:live", {detail: m}));
  }

  // One stream for all tabs by a shared worker; without one, one for each tab
  // that can be seen.
  function listen() {
    const url = new URL(root + "live", location.href).href;
    try {
      const w = new SharedWorker(root + body.dataset.worker, {name: "bothy"});
      w.port.onmessage = (e) => heard(e.data);
      w.port.postMessage({url});
      addEventListener("pagehide", () => w.port.postMessage({leave: true}));
      addEventListener("pageshow", (e) => e.persisted && w.port.postMessage({url}));
      w.port.start();
      return;
    } catch { /* there are none here */ }
    let source;
    const open = () => {
      if (document.hidden) {
        if (source) source.close();
        source = null;
      } else if (!source) {
        source = new EventSource(url);
        source.addEventListener("hello", (e) => heard({hello: e.data}));
        source.onmessage = (e) => heard({topics: e.data});
        source.onerror = () => heard({lost: true});
      }
    };
    document.addEventListener("visibilitychange", open);
    open();
  }
  document.addEventListener("visibilitychange", () => { if (!document.hidden) { tick(); refresh(); } });

  // Forms that ask for something: the answer is a note.
  function tell(html) {
    $("#notes").innerHTML = html;
  }

  document.addEventListener("submit", async (e) => {
    const form = e.target;
    if (!form.matches("form[data-act]")) return;
    e.preventDefault();
    const button = e.submitter;
    if (button && button.dataset.confirm && !await sure(button.dataset.confirm, button.textContent)) return;
    const data = new URLSearchParams(new FormData(form, button));
    form.setAttribute("aria-busy", "true");
    if (button) button.disabled = true;
    try {
      const answer = await fetch(form.action || location.href, {method: "POST", body: data, headers: {"X-Bothy": "act"}});
      if (answer.status === 401) return location.reload();
      const text = await answer.text();
      if (answer.headers.get("Content-Type").startsWith("text/html")) tell(text);
      else fault(text);
      if (answer.ok) form.reset();
      wrong(form);
      form.dispatchEvent(new CustomEvent("bothy:answered", {bubbles: true, detail: answer}));
    } catch {
      fault("the master cannot be reached");
    } finally {
      form.removeAttribute("aria-busy");
      if (button) button.disabled = false;
      choose();
      changed("*");
    }
  });

  // wrong puts what is wrong with fields beside them.
  function wrong(form) {
    for (const el of $$("[data-wrong]", form)) {
      el.textContent = "";
      el.hidden = true;
    }
    for (const el of $$("[aria-invalid]", form)) el.removeAttribute("aria-invalid");
    for (const w of $$("#notes [data-field]").reverse()) {
      const field = form.elements[w.dataset.field], at = $(`[data-wrong="${CSS.escape(w.dataset.field)}"]`, form);
      if (!at) continue;
      at.textContent = w.textContent;
      at.hidden = false;
      const el = field instanceof RadioNodeList ? field[0] : field;
      el.setAttribute("aria-invalid", "true");
      el.focus();
      w.hidden = true;
    }
  }

  function fault(text) {
    const p = document.createElement("p");
    p.className = "note failure";
    p.textContent = text;
    $("#notes").replaceChildren(p);
  }

  // sure asks before what cannot be taken back.
  function sure(question, yes) {
    const d = document.createElement("dialog"), p = document.createElement("p"), f = document.createElement("form");
    f.method = "dialog";
    p.textContent = question;
    for (const [value, text] of [["", "Cancel"], ["yes", yes.trim()]]) {
      const b = document.createElement("button");
      b.value = value;
      b.textContent = text;
      if (value) b.className = "danger";
      f.append(b, " ");
    }
    d.append(p, f);
    body.append(d);
    d.showModal();
    return new Promise((done) => d.addEventListener("close", () => { done(d.returnValue === "yes"); d.remove(); }));
  }

  // Lists whose rows can be chosen: a button is of use only if it makes sense for
  // one of the rows.
  function choose() {
    for (const form of $$("form[data-choose]")) {
      const boxes = $$(`input[type=checkbox][form="${form.id}"],#${form.id} input[type=checkbox]`).filter((b) => b.name);
      const chosen = boxes.filter((b) => b.checked);
      const can = new Set(chosen.flatMap((b) => (b.dataset.can || "").split(" ")));
      for (const b of $$("button[name=do]", form)) b.disabled = b.hasAttribute("data-never") || !can.has(b.value);
      const n = $("[data-chosen]", form);
      if (n) n.textContent = chosen.length ? chosen.length + " chosen" : "none chosen";
      form.classList.toggle("none", !chosen.length);
      const all = $(`[data-all="${form.id}"]`);
      if (all) {
        all.checked = chosen.length > 0 && chosen.length === boxes.length;
        all.indeterminate = chosen.length > 0 && chosen.length < boxes.length;
      }
      for (const b of boxes) {
        const row = b.closest("[data-row]");
        if (row) row.classList.toggle("chosen", b.checked);
      }
    }
  }
  document.addEventListener("change", (e) => {
    const all = e.target.dataset && e.target.dataset.all;
    if (all) for (const b of $$(`input[type=checkbox][form="${all}"]`)) if (b.name) b.checked = e.target.checked;
    choose();
  });
  choose();

  // Pictures lead to what they show; there is a link elsewhere, too.
  document.addEventListener("click", (e) => {
    const go = e.target.dataset && e.target.dataset.go;
    if (go) location.assign(go);
  });

  // Search as one types.
  let typing;
  document.addEventListener("input", (e) => {
    const form = e.target.closest("form[data-search]");
    if (!form) return;
    clearTimeout(typing);
    typing = setTimeout(() => {
      const url = new URL(location.href);
      url.search = "";
      for (const [k, v] of new FormData(form)) if (v) url.searchParams.append(k, v);
      history.replaceState(null, "", url);
      for (const id of form.dataset.search.split(" ")) wanted.add(id);
      refresh();
    }, 150);
  });

  // Keyboard.
  let before = "";
  const rows = () => $$("main [data-row] a.row").filter((a) => a.offsetParent);
  function step(by) {
    const all = rows();
    const here = document.activeElement.closest("[data-row]");
    let i = all.findIndex((a) => a.closest("[data-row]") === here);
    i = i < 0 ? (by > 0 ? 0 : all.length - 1) : Math.min(Math.max(i + by, 0), all.length - 1);
    if (all[i]) {
      all[i].focus();
      all[i].closest("[data-row]").scrollIntoView({block: "nearest"});
    }
  }
  document.addEventListener("keydown", (e) => {
    if (e.ctrlKey || e.metaKey || e.altKey || e.defaultPrevented || $("dialog[open]")) return;
    if (e.target.matches("input:not([type=checkbox]),textarea,select,[contenteditable]")) {
      if (e.key === "Escape") e.target.blur();
      return;
    }
    const did = {
      "?": () => $("#keymap").showModal(),
      "/": () => { const s = $("main input[type=search]"); if (s) s.select(), s.focus(); },
      "j": () => step(1),
      "k": () => step(-1),
      "u": () => { const up = $("a[rel=up]"); if (up) up.click(); },
      "x": () => {
        const row = document.activeElement.closest("[data-row]"), box = row && $("input[type=checkbox]", row);
        if (box) box.click();
      },
    };
    if (before === "g") {
      const to = $(`nav [data-key="${CSS.escape(e.key)}"]`);
      before = "";
      if (to) { e.preventDefault(); to.click(); }
      return;
    }
    before = e.key;
    if (did[e.key]) { e.preventDefault(); did[e.key](); }
  });
  const keys = $("#keys");
  keys.hidden = false;
  keys.addEventListener("click", () => $("#keymap").showModal());

  // What a note said is said once; and where the navigation scrolls, the page
  // that is shown is in sight.
  const url = new URL(location.href);
  if (url.searchParams.has("note")) {
    url.searchParams.delete("note");
    history.replaceState(null, "", url);
  }
  const current = $(".top nav [aria-current]");
  if (current) current.parentElement.scrollLeft = current.offsetLeft - 60;

  window.bothy = {morph, tick, took, ago, left, changed, root};
  if ($("[data-live]")) listen();
})();
