// Who may talk to the control plane: users with tokens, their kubeconfig files, and the key that signs service account
// tokens. What a user may do is RBAC's business; only `admin` is above it.

import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { stringify } from 'yaml';

export interface ClusterUser {
  readonly name: string;
  /** Tells accounts of one name apart, for tokens and in the audit log; the name where it is not given. */
  readonly uid?: string;
  /** Beside `system:authenticated`, which every user has. */
  readonly groups?: readonly string[];
}

interface Account extends ClusterUser {
  readonly uid: string;
  readonly token: string;
}

const BUILT_IN_USERS: readonly ClusterUser[] = [
  { name: 'admin', groups: ['system:masters'] },
  { name: 'system:kube-scheduler' },
];

/** The user that a pod's service account is to the API server. */
export function serviceAccountUser(namespace: string, name: string): ClusterUser {
  const groups = ['system:serviceaccounts', `system:serviceaccounts:${namespace}`];
  return { name: `system:serviceaccount:${namespace}:${name}`, groups };
}

export class Accounts {
  readonly #dir: string;
  readonly #byUid: ReadonlyMap<string, Account>;

  constructor(dir: string, users: readonly ClusterUser[]) {
    this.#dir = dir;
    const all = [...BUILT_IN_USERS, ...users];
    const accounts = all.map((user) => ({ uid: user.name, ...user, token: randomBytes(16).toString('hex') }));
    this.#byUid = new Map(accounts.map((account) => [account.uid, account]));
  }

  /** Users are named by their uid, which is their name unless another was given. */
  token(user: string): string {
    return this.#account(user).token;
  }

  /** The path of this user's kubeconfig. */
  kubeconfig(user: string): string {
    return join(this.#dir, `${this.#account(user).uid.replaceAll(':', '_')}.kubeconfig`);
  }

  /** Writes `tokens.csv`, `sa.key` and `sa.pub`. */
  async write(): Promise<void> {
    const keys = generateKeyPairSync('rsa', {
      modulusLength: 2048,
      publicKeyEncoding: { type: 'spki', format: 'pem' },
      privateKeyEncoding: { type: 'pkcs1', format: 'pem' },
    });
    await writeFile(join(this.#dir, 'sa.pub'), keys.publicKey);
    await writeFile(join(this.#dir, 'sa.key'), keys.privateKey, { mode: 0o600 });
    const lines = [...this.#byUid.values()].map(
      ({ token, name, uid, groups }) => `${token},"${name}","${uid}","${(groups ?? []).join(',')}"\n`,
    );
    await writeFile(join(this.#dir, 'tokens.csv'), lines.join(''), { mode: 0o600 });
  }

  async writeKubeconfigs(server: string, caFile: string): Promise<void> {
    for (const { name, uid, token } of this.#byUid.values()) {
      const config = {
        apiVersion: 'v1',
        kind: 'Config',
        clusters: [{ name: 'e2e', cluster: { server, 'certificate-authority': caFile } }],
        users: [{ name, user: { token } }],
        contexts: [{ name: 'e2e', context: { cluster: 'e2e', user: name } }],
        'current-context': 'e2e',
      };
      await writeFile(this.kubeconfig(uid), stringify(config), { mode: 0o600 });
    }
  }

  #account(user: string): Account {
    const account = this.#byUid.get(user);
    if (account === undefined) throw new Error(`no user ${user}; known: ${[...this.#byUid.keys()].join(', ')}`);
    return account;
  }
}
