// The API server's audit log, narrowed to completed writes on pods: how a test proves what was written, by whom and
// in how many calls. Reads the file as it is at that moment.

import { readFile } from 'node:fs/promises';

export interface AuditedWrite {
  readonly user: string;
  readonly verb: string;
  /** `pods`, `pods/binding`, `pods/status`, … */
  readonly resource: string;
  readonly namespace: string;
  readonly name: string;
  readonly status: number;
  /** The body as sent. */
  readonly requestObject: unknown;
}

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
    { level: 'None' },
  ],
};

export async function readAuditLog(file: string): Promise<readonly AuditedWrite[]> {
  const text = await readFile(file, 'utf8');
  // The last line may still be in the making.
  const complete = text.slice(0, text.lastIndexOf('\n') + 1);
  return complete.split('\n').filter(Boolean).map(parseEntry);
}

function parseEntry(line: string): AuditedWrite {
  const entry = fieldsOf(JSON.parse(line));
  const target = fieldsOf(entry['objectRef']);
  const subresource = target['subresource'];
  return {
    user: String(fieldsOf(entry['user'])['username']),
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
