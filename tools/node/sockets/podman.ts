import { get, type IncomingMessage } from 'node:http'
import { objectsIn, textIn } from '../reader.js'
import { bounded, type Names } from './answer.js'

/**
 * What Podman's service calls its containers, stopped ones, too.
 * @throws where the socket is not that of Podman
 */
export async function podmanNames(socketPath: string, signal: AbortSignal): Promise<Names> {
  const response = await answerOf(socketPath, signal)
  if (response.statusCode !== 200) {
    response.destroy()
    throw new Error(`HTTP status ${response.statusCode}`)
  }
  const list: unknown = JSON.parse((await bounded(response)).toString())
  if (!Array.isArray(list)) throw new Error('no list')
  return objectsIn(list).flatMap((one): [string, string][] => {
    const names = one['Names']
    const name = Array.isArray(names) ? names.find((name) => typeof name === 'string') : undefined
    return name === undefined ? [] : [[textIn(one, 'Id'), name]]
  })
}

// --- internal

const path = '/v4.0.0/libpod/containers/json?all=true'

function answerOf(socketPath: string, signal: AbortSignal): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    get({ socketPath, path, signal, agent: false }, resolve).on('error', reject)
  })
}
