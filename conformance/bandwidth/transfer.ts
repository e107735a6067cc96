import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { transformSync } from 'esbuild'
import { nodeCommand } from '../harness/locations.js'
import { succeed } from '../harness/process.js'
import type { Place } from '../harness/traffic.js'

const end = transformSync(readFileSync(fileURLToPath(new URL('transfer-end.ts', import.meta.url)), 'utf8'), {
  loader: 'ts',
  format: 'esm',
}).code

const argv = (...words: string[]) => [...nodeCommand, '--input-type=module', '--eval', end, '--', ...words]

interface Sent {
  readonly address: string
  readonly bytes: number
  readonly port?: number
}

/**
 * The seconds of the quickest of some transfers, no more of them than until one takes less than `enough`: a limit slows
 * down each, a busy machine now and then one.
 */
export async function quickest(from: Place, to: Place, sent: Sent, enough: number): Promise<number> {
  let least = Number.POSITIVE_INFINITY
  for (let tries = 0; tries < 8 && least >= enough; tries++) least = Math.min(least, await transfer(from, to, sent))
  return least
}

/** Sends so many bytes over TCP from one place to another and returns how many seconds it took until all were there. */
export async function transfer(from: Place, to: Place, { address, bytes, port = 9000 }: Sent): Promise<number> {
  const sink = to.start(argv('sink', address, String(port)), { keepOpen: true })
  await new Promise<void>((resolve, reject) => {
    sink.child.stdout?.once('data', () => resolve())
    sink.finished.then(({ stderr }) => reject(new Error(`the sink cannot listen: ${stderr}`)), reject)
  })
  const sending = argv('send', address, String(port), String(bytes))
  const milliseconds = succeed(sending, await from.start(sending).finished)
  sink.child.stdin?.end()
  await sink.finished
  return Number(milliseconds) / 1000
}
