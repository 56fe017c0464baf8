// The Binder port on a real API server: one POST to pods/binding carries node name and annotations.
// It must not retry and must not guess: whatever is not certainly refused is reported as unknown.

import type { BindingOrder, BindOutcome, Binder } from '../app/ports.ts';
import { apiPath, describeAnswer, KubeUnreachable, messageOf } from './kube-api.ts';
import type { KubeAnswer, KubeApi } from './kube-api.ts';

export function createBinder(api: KubeApi): Binder {
  return {
    async bind(order, timeoutMillis, isStillWanted) {
      let path: string;
      try {
        path = apiPath('v1', 'namespaces', order.pod.namespace, 'pods', order.pod.name, 'binding');
      } catch (error) {
        return { kind: 'refused', status: 0, message: messageOf(error) };
      }
      try {
        return outcomeOf(await api.request('POST', path, { body: bindingOf(order), timeoutMillis, isStillWanted }));
      } catch (error) {
        const message = messageOf(error);
        const neverSent = error instanceof KubeUnreachable && error.sent === 'no';
        return neverSent ? { kind: 'refused', status: 0, message } : { kind: 'unknown', message };
      }
    },
  };
}

function bindingOf(order: BindingOrder): unknown {
  const { namespace, name, uid } = order.pod;
  return {
    apiVersion: 'v1',
    kind: 'Binding',
    metadata: { namespace, name, uid, annotations: order.annotations },
    target: { apiVersion: 'v1', kind: 'Node', name: order.nodeName },
  };
}

// 408 and 429 can come from a proxy after the request went on, so they are no proof that nothing was committed.
function outcomeOf(answer: KubeAnswer): BindOutcome {
  const { status } = answer;
  if (status >= 200 && status < 300) return { kind: 'bound' };
  if (status >= 400 && status < 500 && status !== 408 && status !== 429) {
    return { kind: 'refused', status, message: describeAnswer(answer) };
  }
  return { kind: 'unknown', message: describeAnswer(answer) };
}
