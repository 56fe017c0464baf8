// What the extender's schema cannot say: addresses, and options that only make sense together. Pure; reports everything it finds.

import { isIP } from 'node:net';
import { isLoopback, parseAddress } from './address.ts';
import type { Address } from './address.ts';
import { addressFindings, error, warning } from './finding.ts';
import type { Finding } from './finding.ts';
import type { OptionValues } from './options.ts';

const ADDRESS_EXAMPLE = '127.0.0.1:12345';

export function checkCombinations(values: OptionValues): readonly Finding[] {
  return [
    ...tlsFindings(values),
    ...listenFindings(values),
    ...clusterFindings(values),
    ...publishFindings(values),
    ...boundFindings(values),
  ];
}

function tlsFindings({ tlsCert, tlsKey, clientCa, clientNames }: OptionValues): Finding[] {
  const findings: Finding[] = [];
  if (tlsCert !== undefined && tlsKey === undefined) {
    findings.push(error(['tlsCert', 'tlsKey'], 'needs its key; add --tls-key'));
  }
  if (tlsKey !== undefined && tlsCert === undefined) {
    findings.push(error(['tlsKey', 'tlsCert'], 'needs its certificate; add --tls-cert'));
  }
  if (clientCa !== undefined && tlsCert === undefined && tlsKey === undefined) {
    const advice = 'clients can only be checked over TLS; add --tls-cert and --tls-key';
    findings.push(error(['clientCa', 'tlsCert', 'tlsKey'], advice));
  }
  if (clientNames.length > 0 && clientCa === undefined) {
    const advice = 'a name proves nothing without a CA that vouches for it; add --client-ca';
    findings.push(error(['clientNames', 'clientCa'], advice));
  }
  return findings;
}

function listenFindings(values: OptionValues): Finding[] {
  const listen = parseAddress(values.listen);
  const ops = parseAddress(values.ops);
  const findings = [
    ...addressFindings('listen', values.listen, ADDRESS_EXAMPLE),
    ...addressFindings('ops', values.ops, ADDRESS_EXAMPLE),
  ];
  if (listen !== undefined && ops !== undefined && collide(listen, ops)) {
    const advice = `${values.ops} collides with the verbs listener ${values.listen}; give --ops another port`;
    findings.push(error(['ops', 'listen'], advice));
  }
  if (listen !== undefined && !isLoopback(listen.host)) findings.push(...exposureFindings(values));
  if (ops !== undefined && !isLoopback(ops.host)) {
    const advice = `${values.ops} shows pod and node names to any caller; restrict it with a NetworkPolicy`;
    findings.push(warning(['ops'], advice));
  }
  return findings;
}

function exposureFindings(values: OptionValues): Finding[] {
  if (values.tlsCert === undefined && values.tlsKey === undefined && !values.insecureListen) {
    const advice =
      `${values.listen} is reachable from outside and anyone there could place pods; add --tls-cert, --tls-key and ` +
      '--client-ca, or listen on 127.0.0.1, or accept the risk with --insecure-listen';
    return [error(['listen', 'tlsCert', 'tlsKey', 'insecureListen'], advice)];
  }
  if (values.clientCa !== undefined) return [];
  const advice = `any caller that reaches ${values.listen} can place pods; add --client-ca`;
  return [warning(['listen', 'clientCa'], advice)];
}

function collide(left: Address, right: Address): boolean {
  if (left.port !== right.port || left.port === 0) return false;
  const wildcard = (host: string): boolean => host === '0.0.0.0' || host === '::';
  const same = left.host === right.host || (isLoopback(left.host) && isLoopback(right.host));
  return same || wildcard(left.host) || wildcard(right.host);
}

function clusterFindings(values: OptionValues): Finding[] {
  if (values.cluster !== 'embedded') return [];
  const findings: Finding[] = [];
  if (values.kubeconfig !== undefined) {
    const advice = 'the embedded cluster has no kubeconfig; drop it or use --cluster kube';
    findings.push(error(['kubeconfig', 'cluster'], advice));
  }
  if (values.leaderElection === true) {
    const advice = 'the embedded cluster has a single replica; drop it or use --cluster kube';
    findings.push(error(['leaderElection', 'cluster'], advice));
  }
  return findings;
}

function publishFindings({ publishEndpoint, podIp, leaderElection, cluster, listen }: OptionValues): Finding[] {
  if (publishEndpoint === undefined) return [];
  const findings: Finding[] = [];
  if (leaderElection === false) {
    const advice =
      'only a leader publishes itself, and none is elected; drop --no-leader-election or --publish-endpoint';
    findings.push(error(['publishEndpoint', 'leaderElection'], advice));
  }
  if (cluster === 'embedded') {
    const advice = 'the embedded cluster has no Services; drop it or use --cluster kube';
    findings.push(error(['publishEndpoint', 'cluster'], advice));
  }
  const served = parseAddress(listen)?.host;
  if (podIp === undefined) {
    const advice = 'needs the address of this pod; set POD_IP from the field status.podIP, or podIp in the file';
    findings.push(error(['publishEndpoint', 'podIp'], advice));
  } else if (isIP(podIp) === 0 || isLoopback(podIp)) {
    const advice = `${JSON.stringify(podIp)} is no address that other nodes reach; set POD_IP from status.podIP`;
    findings.push(error(['podIp', 'publishEndpoint'], advice));
  } else if (served !== undefined && isLoopback(served)) {
    const advice = `${listen} is not reachable at the published address ${podIp}; listen on 0.0.0.0`;
    findings.push(warning(['listen', 'publishEndpoint', 'podIp'], advice));
  }
  return findings;
}

/** An API server may still commit a Binding until its own request timeout, one minute by default. */
const API_REQUEST_MILLIS = 60_000;
/** kube-scheduler gives up on the whole exchange after this by default. */
const SCHEDULER_HTTP_MILLIS = 5_000;

function boundFindings({ reservationHoldMillis, bindTimeoutMillis, limits }: OptionValues): Finding[] {
  const findings: Finding[] = [];
  const hold = ['reservationHoldMillis', 'bindTimeoutMillis'] as const;
  if (reservationHoldMillis <= bindTimeoutMillis) {
    const advice = `must be longer than bindTimeoutMillis (${bindTimeoutMillis}), else a Binding on its way loses its GPU`;
    findings.push(error([...hold], `${reservationHoldMillis} ${advice}`));
  } else if (reservationHoldMillis < API_REQUEST_MILLIS + bindTimeoutMillis) {
    const advice = `may free a GPU too early: an API server can commit a lost Binding for ${API_REQUEST_MILLIS} ms`;
    findings.push(warning([...hold], `${reservationHoldMillis} ${advice}`));
  }
  if (bindTimeoutMillis >= SCHEDULER_HTTP_MILLIS) {
    const advice = `kube-scheduler waits ${SCHEDULER_HTTP_MILLIS} ms by default; raise its httpTimeout above this`;
    findings.push(warning(['bindTimeoutMillis'], `${bindTimeoutMillis}: ${advice}`));
  }
  if (limits.batchPerGpu > limits.podsPerGpu) {
    const advice = `is more than limits.podsPerGpu (${limits.podsPerGpu}); lower it or raise the other`;
    findings.push(error(['limits.batchPerGpu', 'limits.podsPerGpu'], `${limits.batchPerGpu} ${advice}`));
  }
  return findings;
}
