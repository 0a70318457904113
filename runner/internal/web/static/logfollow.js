// The log viewer follows the end of a log that is being written, and lets go of
// it when one scrolls up.
"use strict";
(() => {
  const view = window.logview;
  const {
    lv, $, chunk, whole, parts, number, set, say, chunks, size_, get, put, parse, lineOf, fill,
    keep, end, start, headers,
  } = view;
  const skipBox = $(".lv-skip");
  const patience = 25000; // logview_follow.go: something comes every 10 s
  let over = lv.dataset.over === "1";
  const running = () => parts.some((p) => !p.done) || whole && !over;
  const follower = $("[data-do=follow]");
  function letGo(on) {
    view.follow = on;
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
        if (view.follow || b.el.isConnected || b.hi === first + i) put(b, els.slice(i, i + n), first + i);
        i += n;
      }
      for (const b of view.list) if (b.p === p) size_(b);
    };
    if (m.done) p.done = true;
    if (view.follow) {
      change();
      end();
    } else {
      keep(change);
      if (grown && view.list.length) fill();
      else if (!view.list.length) start();
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
    for (const b of view.list) if (b.p === p && b.k === chunks(p) - 1) b.old = true; // lines that were open have their numbers now
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
      if (view.follow) end();
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

  Object.assign(view, {running, letGo, attend, follower});
})();
