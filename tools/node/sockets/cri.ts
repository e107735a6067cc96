import { type ClientHttp2Session, connect } from 'node:http2'
import { connect as connectSocket, type Socket } from 'node:net'
import protobuf from 'protobufjs/light.js'
import { objectsIn, textIn } from '../reader.js'
import { bounded, type Names } from './answer.js'

// The container runtime interface of Kubernetes (containerd, CRI-O): runtime.v1, gRPC over HTTP/2.

/**
 * What a runtime calls its pods, each by the ID of its sandbox, which is what plugins are told.
 * @throws where the socket is not that of such a runtime
 */
export async function criNames(socket: string, signal: AbortSignal): Promise<Names> {
  return (await criSandboxes(socket, signal)).flatMap(namesOf)
}

/**
 * The sandboxes of a runtime, those that are not ready, too: objects with `id` and `metadata`.
 * @param connected gets the connection when it stands
 * @throws where the socket is not that of such a runtime
 */
export async function criSandboxes(
  socket: string,
  signal: AbortSignal,
  connected?: (connection: Socket) => void,
): Promise<readonly Readonly<Record<string, unknown>>[]> {
  const createConnection = () => {
    const connection = connectSocket(socket)
    return connection.once('connect', () => connected?.(connection))
  }
  const session = connect('http://localhost', { createConnection })
  try {
    const frame = await new Promise<Buffer>((resolve, reject) => {
      session.on('error', reject)
      answerOf(session, signal).then(resolve, reject)
    })
    return objectsIn(response.toObject(response.decode(messageIn(frame)))['items'])
  } finally {
    session.destroy()
  }
}

// --- internal

const path = '/runtime.v1.RuntimeService/ListPodSandbox'

/** What is read of the answer; other fields are skipped. */
const response = protobuf.Root.fromJSON({
  nested: {
    ListPodSandboxResponse: { fields: { items: { rule: 'repeated', type: 'PodSandbox', id: 1 } } },
    PodSandbox: { fields: { id: { type: 'string', id: 1 }, metadata: { type: 'PodSandboxMetadata', id: 2 } } },
    PodSandboxMetadata: { fields: { name: { type: 'string', id: 1 }, namespace: { type: 'string', id: 3 } } },
  },
}).lookupType('ListPodSandboxResponse')

/** A frame is a flag (0: not compressed), the message's length in four bytes, and the message. */
const headerBytes = 5

async function answerOf(session: ClientHttp2Session, signal: AbortSignal): Promise<Buffer> {
  const headers = { ':method': 'POST', ':path': path, 'content-type': 'application/grpc', te: 'trailers' }
  const stream = session.request(headers, { signal })
  // Without a filter, which is an empty message, it lists all.
  stream.end(Buffer.alloc(headerBytes))
  let status: Readonly<Record<string, unknown>> = {}
  stream.on('response', (given) => {
    status = given
  })
  stream.on('trailers', (given) => {
    status = { ...status, ...given }
  })
  const body = await bounded(stream)
  const code = textIn(status, 'grpc-status')
  if (code !== '0') throw new Error(`gRPC status ${code || 'missing'} ${textIn(status, 'grpc-message')}`.trimEnd())
  return body
}

function messageIn(frame: Buffer): Buffer {
  const message = frame.subarray(headerBytes)
  const isWhole = frame.length >= headerBytes && frame[0] === 0 && frame.readUInt32BE(1) === message.length
  if (!isWhole) throw new Error('no message of gRPC')
  return message
}

function namesOf(sandbox: Readonly<Record<string, unknown>>): [string, string][] {
  const { metadata } = sandbox
  const name = textIn(metadata, 'name')
  return name === '' ? [] : [[textIn(sandbox, 'id'), [textIn(metadata, 'namespace'), name].filter(Boolean).join('/')]]
}
