import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { transformSync } from 'esbuild'
import { succeed } from '../harness/process.js'
import type { Place } from '../harness/traffic.js'

const end = transformSync(readFileSync(fileURLToPath(new URL('transfer-end.ts', import.meta.url)), 'utf8'), {
  loader: 'ts',
  format: 'esm',
}).code

const argv = (...words: string[]) => [process.execPath, '--input-type=module', '--eval', end, '--', ...words]

/** Sends so many bytes over TCP from one place to another and returns how many seconds it took until all were there. */
export async function transfer(
  from: Place,
  to: Place,
  { address, bytes, port = 9000 }: { address: string; bytes: number; port?: number },
): Promise<number> {
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
