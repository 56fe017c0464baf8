// The PodReader port: a GET without resourceVersion, which the API server answers from etcd, not from its watch cache.
// Never throws; every call stands alone.

import type { PodReader } from '../app/ports.ts';
import type { PodManifest } from '../core/manifest.ts';
import { apiPath, describeAnswer, messageOf, stringAt } from './kube-api.ts';
import type { KubeApi } from './kube-api.ts';

export function createPodReader(api: KubeApi): PodReader {
  return {
    async read(namespace, name, timeoutMillis) {
      try {
        const path = apiPath('v1', 'namespaces', namespace, 'pods', name);
        const answer = await api.request('GET', path, { timeoutMillis });
        if (answer.status === 404 && stringAt(answer.body, 'kind') === 'Status') return { kind: 'gone' };
        if (answer.status !== 200) return { kind: 'unavailable', message: describeAnswer(answer) };
        if (stringAt(answer.body, 'metadata', 'uid') === undefined) {
          return { kind: 'unavailable', message: `the answer for pod ${namespace}/${name} is not a pod` };
        }
        return { kind: 'found', pod: answer.body as PodManifest };
      } catch (error) {
        return { kind: 'unavailable', message: messageOf(error) };
      }
    },
  };
}
