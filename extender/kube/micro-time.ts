// Kubernetes MicroTime: the API server rejects anything but exactly six fraction digits. Pure.

export function microTime(wallMillis: number): string {
  return new Date(wallMillis).toISOString().replace('Z', '000Z');
}
