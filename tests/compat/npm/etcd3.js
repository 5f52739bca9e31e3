'use strict';
/* npm's etcd3 against the server named by the first argument. For each scene one line of JSON: its name, and
 * what it has seen or how it failed. The first scenes are the examples of the library's own documentation:
 * taken from its files when this runs, and run as they stand there. */

const assert = require('assert');
const fs = require('fs');
const path = require('path');
const { once } = require('events');
const etcd3 = require('etcd3');

const endpoint = process.argv[2];
const WAIT_MS = 20000;
const clients = [];

/* Examples connect to the default port; here that is the server under test. */
class Etcd3 extends etcd3.Etcd3 {
  constructor(options) {
    super({ hosts: endpoint, ...options });
    clients.push(this);
  }
}

/* ---- the library's examples ---- */

const library = path.join(path.dirname(require.resolve('etcd3')), '..');

function exampleOf(file, text) {
  const blocks = fs.readFileSync(path.join(library, file), 'utf8').match(/```[a-z]*\n[^]*?```/g);
  const found = blocks.filter((block) => block.includes(text));
  assert.strictEqual(found.length, 1, `${file} has one example with "${text}"`);
  return found[0].split('\n').slice(1, -1).map((line) => line.replace(/^ *\* ?/, '')).join('\n');
}

/* Runs code with the names given, in an async function of its own; returns what `result` evaluates to there. */
function run(code, names, result) {
  const AsyncFunction = Object.getPrototypeOf(async () => {}).constructor;
  const all = { require: (name) => (name === 'etcd3' ? { ...etcd3, Etcd3 } : require(name)), ...names };
  const body = `${code}\nreturn ${result || 'undefined'};`;

  return new AsyncFunction(...Object.keys(all), body)(...Object.values(all));
}

/* A console that keeps what it is told, and waits for it. */
function listener() {
  const lines = [];
  const waits = [];
  const tell = (...words) => {
    lines.push(words.map((word) => (typeof word === 'string' ? word : JSON.stringify(word))).join(' '));
    for (const wait of waits) wait();
  };

  return {
    lines,
    console: { log: tell, error: tell },
    /* A number: the first so many lines. A line: once it has been told. */
    wait: (what) => new Promise((resolve) => {
      const there = () => (typeof what === 'number' ? lines.length >= what : lines.includes(what));
      const look = () => there() && resolve(typeof what === 'number' ? lines.slice(0, what) : what);
      waits.push(look);
      look();
    }),
  };
}

const examples = {
  async 'readme: quickstart'() {
    const heard = listener();

    /* The code waits in a function that it calls itself: its last word is the last line that it prints, and then
     * it deletes all. */
    await run(exampleOf('readme.md', "client.put('foo')"), heard);
    const lines = await heard.wait(2);
    const client = new Etcd3();
    const watcher = await client.watch().prefix('').startRevision('1').create();
    const gone = new Promise((resolve) => watcher.on('delete', (kv) => kv.key.toString() === 'foo' && resolve()));
    await gone;
    assert.deepStrictEqual(await client.getAll().keys(), []);
    return lines;
  },

  async 'builder: a lock by a transaction'() {
    const heard = listener();
    const names = { client: new Etcd3(), uuid: { v4: () => 'an id' }, console: heard.console };
    const { lock, unlock } = await run(exampleOf('lib/builder.d.ts', 'my_lock'), names, '{ lock, unlock }');
    await lock();
    await lock();
    const held = await names.client.get('my_lock').string();
    const first = await unlock();
    const second = await unlock();
    return [heard.lines, held, first.succeeded, second.succeeded, await names.client.get('my_lock').string()];
  },

  async 'namespace: keys below a prefix'() {
    const client = new Etcd3();
    await client.put('user2/foo').value('stays');
    await run(exampleOf('lib/namespace.d.ts', "client.namespace('user1/')"), { Etcd3 });
    const left = await client.getAll().strings();
    await client.delete().all();
    return left;
  },

  async 'lock: do'() {
    const calls = [];
    const client = new Etcd3();
    let done;
    const finished = new Promise((resolve) => { done = resolve; });
    const doMyAtomicAction = async () => {
      calls.push((await client.getAll().prefix('my_resource').keys()).length);
      await assert.rejects(client.lock('my_resource').acquire(), etcd3.EtcdLockFailedError);
      done('acted');
    };
    await run(exampleOf('lib/lock.d.ts', 'my_resource'), { doMyAtomicAction });
    calls.push(await finished);
    /* Released, sooner or later. */
    for (;;) {
      const lock = client.lock('my_resource');
      try {
        await lock.acquire();
        await lock.release();
        return calls;
      } catch (error) {
        assert(error instanceof etcd3.EtcdLockFailedError);
      }
    }
  },

  async 'lease: hosts that are there'() {
    /* As it stands there it is no JavaScript: its functions wait without being async. */
    const code = exampleOf('lib/lease.d.ts', 'available-hosts').replace(/^function/gm, 'async function');
    const heard = listener();
    const { grantLease, getAvailableHosts } =
      await run(code, { console: heard.console }, '{ grantLease, getAvailableHosts }');
    await grantLease();
    return [(await getAvailableHosts()).map((host) => host === require('os').hostname()), heard.lines];
  },

  async 'election: campaign and observe'() {
    const heard = listener();
    const work = listener();
    const names = {
      Etcd3,
      console: heard.console,
      doSomeWork: () => work.console.log('elected'),
      stopDoingWork: () => work.console.log('stop'),
    };
    const { runCampaign, observeLeader } =
      await run(exampleOf('lib/election.d.ts', 'singleton-job'), names, '{ runCampaign, observeLeader }');
    runCampaign();
    await work.wait(1);
    await observeLeader();
    const lines = await heard.wait(1);
    return [work.lines, lines.map((line) => line.replace(require('os').hostname(), 'me'))];
  },

  async 'stm: a transfer'() {
    const client = new Etcd3();
    /* In one transaction: the library takes a key that was written after another one for a conflict. */
    await client.if('bank/account1', 'Version', '==', 0)
      .then(client.put('bank/account1').value(100), client.put('bank/account2').value(0)).commit();
    const code = exampleOf('lib/stm.d.ts', 'bank/account1').replace('etcd3.stm()', 'return etcd3.stm()');
    await run(code, { etcd3: client });
    await run(code, { etcd3: client });
    await assert.rejects(run(code, { etcd3: client }), /enough money/);
    return [await client.get('bank/account1').number(), await client.get('bank/account2').number()];
  },

  async 'watch: a key'() {
    const heard = listener();
    const client = new Etcd3();
    const code = exampleOf('lib/watch.d.ts', 'successfully reconnected').replace('client.watch()', 'return client.watch()');
    await run(code, { Etcd3, console: heard.console });
    await client.put('foo').value('one');
    await client.put('other').value('no');
    await client.put('foo').value('two');
    return heard.wait(2);
  },

  async 'options: deadlines'() {
    const code = exampleOf('lib/options.d.ts', 'Date.now() + 10000');
    const client = await run(code, { Etcd3 }, 'etcd3');
    await client.put('foo').value('bar');
    await run(exampleOf('lib/options.d.ts', 'Date.now() + 5000'), { etcd3: client });
    return client.get('foo').string();
  },
};

/* ---- more of the same interfaces ---- */

function events(watcher, count) {
  const seen = [];

  return new Promise((resolve) => {
    const add = (kind) => (kv, previous) => {
      seen.push([kind, kv.key.toString(), kv.value.toString(), previous ? previous.value.toString() : null]);
      if (seen.length === count) resolve(seen);
    };
    watcher.on('put', add('put'));
    watcher.on('delete', add('delete'));
  });
}

const uses = {
  async 'ranges'() {
    const client = new Etcd3();
    for (const [key, value] of [['r/a', '3'], ['r/b', '1'], ['r/c', '2'], ['s', '{"x":[1]}']]) await client.put(key).value(value);
    return [
      await client.getAll().prefix('r/').strings(),
      await client.getAll().prefix('r/').numbers(),
      await client.getAll().prefix('r/').sort('Value', 'Descend').limit(2).keys(),
      await client.getAll().prefix('r/').count(),
      await client.getAll().inRange({ start: 'r/b', end: 's' }).keys(),
      await client.get('s').json(),
      await client.get('absent').string(),
      await client.get('r/a').exists(),
      (await client.getAll().prefix('r/').exec()).count,
      (await client.delete().prefix('r/')).deleted,
      (await client.put('s').value('new').getPrevious()).value.toString(),
      await client.put('s').touch().then((answer) => answer.prev_kv),
    ];
  },

  async 'errors have their classes'() {
    const client = new Etcd3();
    const seen = [];
    for (const call of [
      () => client.put('').value('x'),
      () => client.get('s').revision('999999999').string(),
      () => client.put('x').value('y').lease('1234'),
      () => client.put('absent').touch(),
      () => client.leaseClient.leaseRevoke({ ID: '1234' }),
      () => client.kv.compact({ revision: '999999999' }),
    ]) {
      await call().then((answer) => seen.push(answer), (error) => seen.push([error.constructor.name, error.message]));
    }
    return seen;
  },

  async 'leases'() {
    const client = new Etcd3();
    const lease = client.lease(10);
    const id = await lease.grant();
    await lease.put('l').value('v');
    const there = (await client.get('l').exec()).kvs[0].lease === id;
    const kept = await lease.keepaliveOnce();
    const left = await client.leaseClient.leaseTimeToLive({ ID: id, keys: true });
    const keys = left.keys.map(String);
    const listed = (await client.leaseClient.leaseLeases()).leases.some((one) => one.ID === id);
    await lease.revoke();
    return [there, kept.TTL, Number(left.TTL) >= 9, left.grantedTTL, keys, listed, lease.revoked(), await client.get('l').string()];
  },

  async 'a lease that is lost says so'() {
    const client = new Etcd3();
    const lease = client.lease(2);
    const id = await lease.grant();
    const lost = once(lease, 'lost');
    await new Etcd3().leaseClient.leaseRevoke({ ID: id });
    return [(await lost)[0].constructor.name];
  },

  async 'watches'() {
    const client = new Etcd3();
    const first = (await client.put('w/0').value('a')).header.revision;
    const all = await client.watch().prefix('w/').withPreviousKV().create();
    const puts = await client.watch().prefix('w/').only('put').create();
    const past = await client.watch().key('w/0').startRevision(first).create();
    const seen = [events(all, 4), events(puts, 2), events(past, 3)];
    await client.put('w/0').value('b');
    await client.put('w/1').value('c');
    await client.delete().key('w/0');
    await client.delete().key('w/1');
    const got = await Promise.all(seen);
    await all.cancel();
    await puts.cancel();
    await past.cancel();
    return got;
  },

  async 'a lock is one at a time'() {
    const client = new Etcd3();
    const [one, two] = [client.lock('only').ttl(10), new Etcd3().lock('only').ttl(10)];
    await one.acquire();
    const leased = (await one.leaseId()) !== null;
    await assert.rejects(two.acquire(), etcd3.EtcdLockFailedError);
    await one.release();
    await two.acquire();
    await two.release();
    return [leased, await client.getAll().prefix('only').count()];
  },

  async 'an election goes from one to the next'() {
    const names = [];
    const election = new Etcd3().election('post', 10);
    const other = new Etcd3().election('post', 10);
    const none = await election.leader();
    const observer = await other.observe();
    const changes = listener();
    observer.on('change', (leader) => changes.console.log(String(leader)));
    const one = election.campaign('one');
    await once(one, 'elected');
    names.push(await other.leader());
    const two = other.campaign('two');
    let elected = false;
    two.on('elected', () => { elected = true; });
    await two.getCampaignKey();
    await one.proclaim('one, again');
    names.push(await other.leader(), elected);
    const turn = once(two, 'elected');
    await one.resign();
    await turn;
    names.push(await election.leader());
    await changes.wait('two');
    await two.resign();
    names.push(await election.leader());
    await observer.cancel();
    return [none, names];
  },

  async 'transactions in memory do not lose updates'() {
    const client = new Etcd3();
    await client.put('counter').value(0);
    const add = () => client.stm({ retries: 100 }).transact((tx) =>
      tx.get('counter').number().then((n) => tx.put('counter').value(n + 1)));
    await Promise.all(Array.from({ length: 15 }, add));
    return client.get('counter').number();
  },

  async 'maintenance'() {
    const client = new Etcd3();
    const status = await client.maintenance.status();
    const members = (await client.cluster.memberList({})).members;
    return [status.leader === status.header.member_id, members.length, members[0].name,
      (await client.maintenance.alarm({ action: 'Get' })).alarms.length, typeof (await client.maintenance.hash()).hash];
  },
};

/* ---- one after the other ---- */

function timeout() {
  return new Promise((_, reject) => {
    setTimeout(() => reject(new Error(`no end after ${WAIT_MS} ms`)), WAIT_MS).unref();
  });
}

async function main() {
  for (const [name, scene] of [...Object.entries(examples), ...Object.entries(uses)]) {
    const line = { name };
    try {
      line.seen = await Promise.race([scene(), timeout()]);
    } catch (error) {
      line.failed = error.stack;
    }
    for (const client of clients.splice(0)) client.close();
    process.stdout.write(`${JSON.stringify(line)}\n`);
  }
  process.exit(0); /* examples leave timers and leases */
}

main();
