// What grpc-go 1.27.1 (the version in kubelet 1.20) puts on a unix socket for two calls on one connection, recorded from
// grpc.DialContext("/var/lib/kubelet/device-plugins/x.sock", WithInsecure, WithBlock, WithContextDialer) and two
// Invokes with empty messages: GetDevicePluginOptions, then Allocate. In the first HEADERS frame `:authority` is a
// Huffman-coded literal that enters the dynamic table; in the second it is a reference to that entry.

function hex(...parts: readonly string[]): Buffer {
  return Buffer.from(parts.join(''), 'hex');
}

/** The connection preface. */
export const PREFACE: Buffer = hex('505249202a20485454502f322e300d0a0d0a534d0d0a0d0a');
const SETTINGS: Buffer = hex('000000040000000000');
const SETTINGS_ACK: Buffer = hex('000000040100000000');
const FIRST_HEADERS: Buffer = hex(
  '000078010400000001',
  '838645a063b8632a4615ef97b9885d745b31aa6311537cbdcc42eba2d98d56aad263d48f',
  '419c63b8ec628346c75b632d054b1217b98855aba2d98d5218f2ba0e4ebf',
  '5f8b1d75d0620d263d4c4d65647a8a9acac8b4c7602b89d5c340027465864d833505b11f40899acac8b24d494f6a7f8669f7df69db7f',
);
const FIRST_DATA: Buffer = hex('000005000100000001', '0000000000');
const SECOND_HEADERS: Buffer = hex(
  '000027010400000003',
  '8386459663b8632a4615ef97b9885d745b31aa621a28390692ffc3c2c1c07f008669f7df75db7f',
);
const SECOND_DATA: Buffer = hex('000005000100000003', '0000000000');

export const GRPC_GO_AUTHORITY = '/var/lib/kubelet/device-plugins/x.sock';

/** The header block of the first call alone. */
export const GRPC_GO_HEADER_BLOCK: Buffer = FIRST_HEADERS.subarray(9);

/** Everything the client sends, in order. */
export const GRPC_GO_CONNECTION: Buffer = Buffer.concat([
  PREFACE,
  SETTINGS,
  SETTINGS_ACK,
  FIRST_HEADERS,
  FIRST_DATA,
  SECOND_HEADERS,
  SECOND_DATA,
]);
