// The API server's audit log, narrowed to completed writes on pods and leases and to lists of pods and nodes: how a test
// proves what was written, by whom, in how many calls, and in which order. Reads the file as it is at that moment.

import { readFile } from 'node:fs/promises';

export interface AuditedCall {
  readonly user: string;
  /** The uid of the account, where several share the user name. */
  readonly client: string;
  readonly verb: string;
  /** `pods`, `pods/binding`, `pods/status`, … */
  readonly resource: string;
  readonly namespace: string;
  readonly name: string;
  readonly status: number;
  /** RFC 3339 with microseconds, by the API server's clock: comparable as text. */
  readonly receivedAt: string;
  readonly completedAt: string;
  /** The body as sent; of writes only. */
  readonly requestObject: unknown;
}

/** A completed write on a pod. */
export type AuditedWrite = AuditedCall;

export const AUDIT_POLICY: Readonly<Record<string, unknown>> = {
  apiVersion: 'audit.k8s.io/v1',
  kind: 'Policy',
  omitStages: ['RequestReceived'],
  rules: [
    {
      level: 'RequestResponse',
      verbs: ['create', 'update', 'patch', 'delete'],
      resources: [{ group: '', resources: ['pods', 'pods/*'] }],
    },
    {
      level: 'Request',
      verbs: ['create', 'update'],
      resources: [{ group: 'coordination.k8s.io', resources: ['leases'] }],
    },
    { level: 'Metadata', verbs: ['list'], resources: [{ group: '', resources: ['pods', 'nodes'] }] },
    { level: 'None' },
  ],
};

export async function readAuditLog(file: string): Promise<readonly AuditedCall[]> {
  const text = await readFile(file, 'utf8');
  // The last line may still be in the making.
  const complete = text.slice(0, text.lastIndexOf('\n') + 1);
  return complete.split('\n').filter(Boolean).map(parseEntry);
}

export function isPodWrite({ resource, verb }: AuditedCall): boolean {
  return verb !== 'list' && resource.startsWith('pods');
}

function parseEntry(line: string): AuditedCall {
  const entry = fieldsOf(JSON.parse(line));
  const target = fieldsOf(entry['objectRef']);
  const subresource = target['subresource'];
  return {
    user: String(fieldsOf(entry['user'])['username']),
    client: String(fieldsOf(entry['user'])['uid']),
    receivedAt: String(entry['requestReceivedTimestamp']),
    completedAt: String(entry['stageTimestamp']),
    verb: String(entry['verb']),
    resource: `${String(target['resource'])}${typeof subresource === 'string' ? `/${subresource}` : ''}`,
    namespace: String(target['namespace']),
    // A creation names its object only in the body.
    name: String(target['name'] ?? fieldsOf(fieldsOf(entry['requestObject'])['metadata'])['name']),
    status: Number(fieldsOf(entry['responseStatus'])['code']),
    requestObject: entry['requestObject'],
  };
}

function fieldsOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}
