/* Two informers of npm's @kubernetes/client-node on the ConfigMaps of one namespace: of all, and of those with
 * a label. Prints every watch that is opened, what comes through it, and every list, one line of JSON each. Once the
 * object "end" has come to both: what their caches hold, and that is the end.
 *   informer.mjs KUBECONFIG MODULES NAMESPACE SELECTOR */

import path from 'node:path';
import { pathToFileURL } from 'node:url';

const [kubeconfig, modules, namespace, selector] = process.argv.slice(2);
const main = path.join(modules, '@kubernetes/client-node/dist/index.js');
const k8s = await import(pathToFileURL(main));

/* What the library leaves to its users: how soon an informer that failed starts again. */
const RESTART_MS = 20;

const config = new k8s.KubeConfig();
config.loadFromFile(kubeconfig);
const api = config.makeApiClient(k8s.CoreV1Api);
const running = new Map();
const ended = new Set();

function say(line) {
  process.stdout.write(JSON.stringify(line) + '\n');
}

function brief(object) {
  const { name, resourceVersion } = object.metadata;
  return { name, rv: Number(resourceVersion), value: object.data && object.data.value };
}

/* Says what the informer gets to see, doubles included: its callbacks hide those. */
class LoudWatch extends k8s.Watch {
  constructor(who) {
    super(config);
    this.who = who;
  }

  watch(where, params, callback, done) {
    say({ who: this.who, what: 'watch', rv: Number(params.resourceVersion) });
    return super.watch(where, params, (type, object, whole) => {
      if (type === 'ERROR') say({ who: this.who, what: 'error', code: object.code });
      else say({ who: this.who, what: type, ...brief(object) });
      callback(type, object, whole);
    }, done);
  }
}

function end() {
  for (const [who, informer] of running) say({ who, what: 'cache', objects: informer.list(namespace).map(brief) });
  process.stdout.write('', () => process.exit(0));
}

function inform(who, labelSelector) {
  const list = async () => {
    const answer = await api.listNamespacedConfigMap({ namespace, labelSelector });
    say({ who, what: 'list', rv: Number(answer.metadata.resourceVersion), objects: answer.items.map(brief) });
    return answer;
  };
  const where = `/api/v1/namespaces/${namespace}/configmaps`;
  const informer = new k8s.ListWatch(where, new LoudWatch(who), list, false, labelSelector);
  running.set(who, informer);
  for (const event of ['add', 'update']) {
    informer.on(event, (object) => {
      if (object.metadata.name === 'end') ended.add(who);
      if (ended.size === running.size) setImmediate(end);
    });
  }
  informer.on('error', (error) => {
    say({ who, what: 'failed', text: String(error) });
    setTimeout(() => informer.start(), RESTART_MS);
  });
  informer.start();
}

inform('all', undefined);
inform('some', selector);
