// The one stream of a browser: tabs that ask for the same script share this
// worker, and it tells them all what has changed.
"use strict";
let source, last = "", alive = false;
const tabs = new Set();

function tell(message) {
  for (const tab of tabs) tab.postMessage(message);
}

function open(url) {
  source = new EventSource(url);
  source.addEventListener("hello", (e) => {
    alive = true;
    last = e.data;
    tell({hello: last});
  });
  source.onmessage = (e) => {
    last = e.lastEventId + " " + last.split(" ")[1];
    tell({topics: e.data, version: e.lastEventId});
  };
  source.onerror = () => {
    alive = false;
    tell({lost: true});
    if (source.readyState === EventSource.CLOSED) {
      setTimeout(() => open(url), 5000);
    }
  };
}

self.onconnect = (e) => {
  const port = e.ports[0];
  port.onmessage = (m) => {
    if (m.data.leave) {
      tabs.delete(port);
      return;
    }
    tabs.add(port);
    if (!source) open(m.data.url);
    else if (alive) port.postMessage({hello: last});
  };
  port.start();
};
