// One kubelet connection as the gRPC server sees it: the socket with the client's bytes rewritten on the way in.
// Owns the socket from then on: ends, errors and back pressure of one side reach the other. Malformed bytes end this
// connection and are reported; they never become an error event, which would reach the whole server.

import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { AuthorityRewriter } from './authority.ts';

export type ReportMalformed = (reason: string) => void;

export class KubeletConnection extends Duplex {
  readonly #socket: Socket;

  constructor(socket: Socket, onMalformed: ReportMalformed) {
    super({ allowHalfOpen: true });
    this.#socket = socket;
    const rewriter = new AuthorityRewriter();
    socket.on('data', (chunk: Buffer) => {
      this.#receive(rewriter, chunk, onMalformed);
    });
    socket.on('end', () => {
      this.push(null);
    });
    // A reset by the peer is an ordinary end here; 'close' follows.
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.destroy();
    });
  }

  #receive(rewriter: AuthorityRewriter, chunk: Buffer, onMalformed: ReportMalformed): void {
    if (this.destroyed) return;
    try {
      for (const piece of rewriter.push(chunk)) {
        if (!this.push(piece)) this.#socket.pause();
      }
    } catch (error) {
      this.destroy();
      onMalformed(error instanceof Error ? error.message : String(error));
    }
  }

  override _read(): void {
    this.#socket.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#socket.write(chunk, done);
  }

  override _writev(chunks: { chunk: Buffer }[], done: (error?: Error | null) => void): void {
    this.#socket.write(Buffer.concat(chunks.map(({ chunk }) => chunk)), done);
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#socket.end(done);
  }

  override _destroy(_error: Error | null, done: (error?: Error | null) => void): void {
    this.#socket.destroy();
    done(null);
  }
}
