// Structured logging: one JSON object per line, a closed set of keys, secrets removed before a line is built.
// Owns the pino instance; nothing else in the extender imports pino. Writes are synchronous, so the last line before
// a crash is on disk. It must not be used on the hot path above debug level.

import { pino } from 'pino';
import type { DestinationStream } from 'pino';

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent';

/** Every key that may appear in a log line. Add here first: dashboards and searches depend on the names. */
export type LogKey =
  | 'address'
  | 'attempt'
  | 'config'
  | 'count'
  | 'detail'
  | 'durationMillis'
  | 'error'
  | 'feed'
  | 'generation'
  | 'gpu'
  | 'headers'
  | 'lease'
  | 'namespace'
  | 'node'
  | 'outcome'
  | 'pod'
  | 'policy'
  | 'profile'
  | 'reason'
  | 'remote'
  | 'signal'
  | 'state'
  | 'status'
  | 'uid'
  | 'validTo'
  | 'verb'
  | 'version';

export type LogFields = { readonly [Key in LogKey]?: unknown };

export interface Logger {
  trace(message: string, fields?: LogFields): void;
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  fatal(message: string, fields?: LogFields): void;
  /** A logger that adds these fields to every line. */
  child(fields: LogFields): Logger;
  /** True when a line of this level would be written; lets a caller skip building costly fields. */
  enabled(level: Exclude<LogLevel, 'silent'>): boolean;
}

export interface LoggerOptions {
  readonly level: LogLevel;
  readonly component: string;
  /** Where lines go: a stream, or `stdout` (default) or `stderr` written synchronously. */
  readonly destination?: 'stdout' | 'stderr' | DestinationStream;
}

const MAX_TEXT = 8192;
const REDACTED = '[redacted]';
const SECRET_KEY = /^(?:proxy-)?authorization$|^(?:set-)?cookie$|token|password|passwd|secret|credential/i;
const SECRET_TEXT: readonly (readonly [pattern: RegExp, replacement: string])[] = [
  [/\bBearer +[\w.~+/=-]+/gi, `Bearer ${REDACTED}`],
  [/\bBasic +[\w+/=]{8,}/g, `Basic ${REDACTED}`],
  [/\beyJ[\w-]{8,}\.[\w-]+\.[\w-]*/g, REDACTED],
  [/:\/\/[^/\s:@]{1,256}:[^/\s@]{1,256}@/g, `://${REDACTED}@`],
];

/** Removes credentials from free text and cuts it to a length that a log line can carry. */
export function scrubText(text: string): string {
  let clean = text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)}… (${text.length} characters)` : text;
  for (const [pattern, replacement] of SECRET_TEXT) clean = clean.replace(pattern, replacement);
  return clean;
}

/** True for keys whose values must never be printed, in log lines and in the printed configuration alike. */
export function isSecretKey(key: string): boolean {
  return SECRET_KEY.test(key);
}

export function createLogger(options: LoggerOptions): Logger {
  const destination = options.destination ?? 'stdout';
  const stream =
    typeof destination === 'string'
      ? pino.destination({ dest: destination === 'stdout' ? 1 : 2, sync: true })
      : destination;
  const root = pino(
    { level: options.level, base: { component: options.component }, timestamp: pino.stdTimeFunctions.isoTime },
    stream,
  );
  return wrap(root);
}

function wrap(target: pino.Logger): Logger {
  const write = (level: Exclude<LogLevel, 'silent'>, message: string, fields: LogFields | undefined): void => {
    if (!target.isLevelEnabled(level)) return;
    target[level](fields === undefined ? {} : clean(fields, 0), scrubText(message));
  };
  return {
    trace: (message, fields) => write('trace', message, fields),
    debug: (message, fields) => write('debug', message, fields),
    info: (message, fields) => write('info', message, fields),
    warn: (message, fields) => write('warn', message, fields),
    error: (message, fields) => write('error', message, fields),
    fatal: (message, fields) => write('fatal', message, fields),
    child: (fields) => wrap(target.child(clean(fields, 0))),
    enabled: (level) => target.isLevelEnabled(level),
  };
}

const MAX_DEPTH = 4;

function clean(fields: object, depth: number): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(fields).map(([key, value]: [string, unknown]) => [
      key,
      isSecretKey(key) ? REDACTED : cleanValue(value, depth + 1),
    ]),
  );
}

function cleanValue(value: unknown, depth: number): unknown {
  if (typeof value === 'string') return scrubText(value);
  if (typeof value === 'bigint') return value.toString();
  if (value instanceof Error) return cleanError(value, depth);
  if (typeof value !== 'object' || value === null) return value;
  if (depth > MAX_DEPTH) return '[too deep]';
  if (Array.isArray(value)) return value.map((item: unknown) => cleanValue(item, depth + 1));
  return clean(value, depth);
}

function cleanError(error: Error, depth: number): Record<string, unknown> {
  const output: Record<string, unknown> = { type: error.name, message: scrubText(error.message) };
  if ('code' in error) output['code'] = cleanValue(error.code, depth + 1);
  if (error.stack !== undefined) output['stack'] = scrubText(error.stack);
  if (error.cause !== undefined && depth <= MAX_DEPTH) output['cause'] = cleanValue(error.cause, depth + 1);
  return output;
}
