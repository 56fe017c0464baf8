// What gpuloom relies on in an API server, as cases over plain HTTP. The embedded server must pass all of them;
// a real kube-apiserver can be put behind `connect` to prove that the cases themselves are true.
// Every case works in objects of its own, so the server may hold others.

import { afterAll, beforeAll, describe } from 'vitest';

import { listCases, objectCases, plainCases, updateCases } from './api-server-objects.ts';
import { bindingCases, deletionCases } from './api-server-pods.ts';
import { makeSubject } from './api-server-subject.ts';
import type { ContractServer, Subject } from './api-server-subject.ts';
import { watchCases } from './api-server-watches.ts';

export type { ContractServer } from './api-server-subject.ts';

export function apiServerContract(name: string, connect: () => Promise<ContractServer>): void {
  describe(`API server contract: ${name}`, () => {
    let subject: Subject | undefined;
    beforeAll(async () => {
      subject = makeSubject(await connect());
    });
    afterAll(async () => {
      await subject?.server.close();
    });
    const get = (): Subject => {
      if (subject === undefined) throw new Error('the API server did not start');
      return subject;
    };
    for (const cases of [plainCases, objectCases, listCases, updateCases, bindingCases, deletionCases, watchCases]) {
      cases(get);
    }
  });
}
