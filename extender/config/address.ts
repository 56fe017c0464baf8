// Addresses to listen on, as options spell them. Pure.

export interface Address {
  readonly host: string;
  readonly port: number;
}

/** Parses HOST:PORT, with brackets around an IPv6 address. `undefined` when it is neither. */
export function parseAddress(text: string): Address | undefined {
  if (text.length > 300) return undefined;
  const match = /^(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9.-]+)):(\d{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  return host === undefined || port > 65_535 ? undefined : { host, port };
}

export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(?:\.\d{1,3}){3}$/.test(host);
}
