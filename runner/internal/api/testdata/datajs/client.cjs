// Runs Buildbot's own client, buildbot-data-js, in a browser's document object
// model against the master at the URL given, and checks what it makes of the
// answers: queries, live collections over /ws, control. It prints "ok" and what
// it has checked; anything else is a failure.
'use strict';
const assert = require('node:assert/strict');
const { JSDOM } = require('jsdom');

const url = process.argv[2];
const { window } = new JSDOM('<!doctype html><html><body></body></html>', { url, pretendToBeVisual: true });
global.window = window;
for (const name of ['document', 'location', 'Node', 'Element']) {
    global[name] = window[name];
}
const say = console.log;
console.log = () => {}; // the client is talkative
require('angular/angular.js');
global.angular = window.angular;
require('buildbot-data-js');
const data = angular.bootstrap(window.document.body, ['bbData']).get('dataService');

// until waits for what must come.
function until(what, happened) {
    const deadline = Date.now() + 120_000;
    return new Promise((resolve, reject) => {
        (function look() {
            if (happened()) return resolve();
            if (Date.now() > deadline) return reject(new Error('never: ' + what));
            setTimeout(look, 10);
        })();
    });
}

// loaded waits for a collection's first rows and returns them. A collection
// itself has a method then, so that it must never be what a promise holds.
async function loaded(collection) {
    await until(`${collection.restPath} is loaded`, () => collection.$resolved);
    return Array.from(collection);
}

// refused returns what a promise is rejected with.
async function refused(promise) {
    const done = await promise.then((v) => ({ v }), (e) => ({ e }));
    assert.ok('e' in done, `not refused: ${JSON.stringify(done.v)}`);
    return done.e;
}

const names = (list) => Array.from(list, (x) => x.name);

const checks = {
    async 'plain queries'() {
        assert.deepEqual(names(await loaded(data.getBuilders())), ['test', 'hold']);
        assert.deepEqual(names(await loaded(data.getBuilders({ name: 'hold' }))), ['hold']);
        assert.deepEqual(names(await loaded(data.getWorkers({ order: '-name', limit: 1 }))), ['w2']);
        assert.deepEqual(names(await loaded(data.getMasters())), ['host:/base']);
        const [form] = await loaded(data.getForceschedulers());
        assert.deepEqual(form.builder_names, ['test', 'hold']);
        const [builder] = await loaded(data.getBuilders('test'));
        assert.equal(builder.builderid, 1);
        assert.deepEqual(names(await loaded(builder.getWorkers())), ['w1', 'w2']);
        for (const kind of ['Changes', 'Changesources', 'Sourcestamps', 'Buildsets', 'Schedulers']) {
            assert.ok(Array.isArray(await loaded(data['get' + kind]())), kind);
        }
    },

    async 'live collections'() {
        const live = data.open();
        const builds = live.getBuilds({ order: '-buildid', limit: 2 });
        await loaded(builds);
        const requests = live.getBuildrequests({ complete: false });
        await loaded(requests);
        const ofBuilder = await loaded(live.getBuilders(1));
        const buildsOfBuilder = ofBuilder[0].getBuilds({ order: '-number' });
        await loaded(buildsOfBuilder);
        const [bsid, ids] = (await data.control('forceschedulers', 'button', 'force',
            { builderid: 1, level: 1, reason: 'live', username: 'Ana <ana@example.com>' })).result;
        assert.equal(ids[1], bsid);
        await until('the build appears finished', () => builds.length === 1 && builds[0].complete);
        assert.equal(builds[0].results, 0);
        assert.equal(builds[0].buildrequestid, bsid);
        await until('the request is gone', () => requests.length === 0);
        await until('the builder has the build', () => buildsOfBuilder.length === 1 && buildsOfBuilder[0].complete);
        await data.control('forceschedulers', 'button', 'force', { builderid: 1, level: 2 });
        await data.control('forceschedulers', 'button', 'force', { builderid: 1, level: 3 });
        await until('the last two builds are finished', () => builds.length === 2 && builds[1].buildid === 2 && builds.every((b) => b.complete));

        const steps = builds[0].getSteps();
        await loaded(steps);
        assert.deepEqual(names(steps), ['greet', 'work']);
        const [log] = await loaded(steps[0].getLogs());
        assert.equal(log.type, 's');
        const [chunk] = await loaded(log.getContents());
        assert.match(chunk.content, /^h\$ print hello\nohello\n$/);
        const [properties] = await loaded(builds[0].getProperties());
        assert.deepEqual(properties.level, [3, 'Force Build Form']);
        live.close();
    },

    async 'steps and logs of a running build'() {
        const live = data.open();
        await data.control('forceschedulers', 'button', 'force', { builderid: 2, level: 1 });
        const builds = live.getBuilds({ builderid: 2 });
        await loaded(builds);
        await until('it runs', () => builds.length === 1);
        const steps = builds[0].getSteps();
        await loaded(steps);
        await until('its step runs', () => steps.length === 1 && !steps[0].complete);
        const logs = steps[0].getLogs();
        await loaded(logs);
        await until('the step has a log', () => logs.length === 1);
        const answer = await builds[0].control('stop', { reason: 'enough' });
        assert.equal(answer.result, null);
        await until('it has ended', () => builds[0].complete && steps[0].complete && logs[0].complete);
        assert.equal(builds[0].results, 6);
        assert.match(builds[0].state_string, /enough/);
        live.close();
    },

    async 'control of workers'() {
        const live = data.open();
        const workers = live.getWorkers();
        await loaded(workers);
        const w1 = workers.find((w) => w.name === 'w1');
        await w1.control('pause', { reason: 'new disk' });
        await until('it is shown as paused', () => w1.paused && w1.pause_reason === 'new disk');
        await w1.control('unpause', {});
        await until('it is no longer', () => !w1.paused);
        await w1.control('stop', {});
        await until('it is gone', () => w1.connected_to.length === 0);
        await w1.control('start', {});
        await until('it is back', () => w1.connected_to.length === 1);
        live.close();
    },

    async 'control of schedulers'() {
        const live = data.open();
        const schedulers = live.getSchedulers();
        await loaded(schedulers);
        await schedulers[0].control('enable', { enabled: false });
        await until('it is shown as off', () => schedulers[0].enabled === false);
        await schedulers[0].control('enable', { enabled: true });
        await until('it is on again', () => schedulers[0].enabled === true);
        live.close();
    },

    async 'refusals'() {
        const unknown = await refused(data.control('workers', 99, 'pause', {}));
        assert.equal(unknown.error.code, -32600);
        const action = await refused(data.control('workers', 1, 'dance', {}));
        assert.equal(action.error.code, -32601);
        const form = await refused(data.control('forceschedulers', 'button', 'force', { builderid: 1, level: 'x' }));
        assert.equal(form.error.code, -32602);
        assert.match(form.error.message.level, /whole number/);
    },
};

(async () => {
    for (const [what, check] of Object.entries(checks)) {
        await check();
        say('ok', what);
    }
    process.exit(0);
})().catch((e) => {
    say('FAILED', e && e.stack ? e.stack : JSON.stringify(e));
    process.exit(1);
});
