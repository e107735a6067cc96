import { writeSync } from 'node:fs'
import { getRawAsset } from 'node:sea'
import { Script } from 'node:vm'

// The main script of the binary: it runs the script of the plugin that the program was started as. Each plugin has a script of its own, so
// that a start reads, and takes out of V8's code cache, nothing that only others need (shared/build/bundle.ts).

function asset(name: string): Buffer | undefined {
  try {
    return Buffer.from(getRawAsset(name))
  } catch {
    return undefined
  }
}

const name = process.argv0.slice(process.argv0.lastIndexOf('/') + 1)
const version = process.env['CNI_COMMAND'] === 'VERSION' ? asset(`${name}.version`) : undefined
if (version) answer(version)
else start()

/** What VERSION answers is known since the build (record.ts). Where it cannot be written, the plugin says so. */
function answer(bytes: Buffer): void {
  try {
    if (writeSync(1, bytes) === bytes.length) exit(0)
  } catch {
    start()
  }
}

function start(): void {
  // By another name any script will do: it says which names there are.
  const known = asset(`${name}.js`) ? name : 'loopback'
  const cachedData = asset(`${known}.cache`)
  const text = asset(`${known}.js`)?.toString('latin1') ?? ''
  const script = new Script(text, { filename: known, ...(cachedData ? { cachedData } : {}) })
  if (script.cachedDataRejected) process.emitWarning(`the code cache of ${known} was rejected`)
  const run = script.runInThisContext() as (load: NodeJS.Require) => void
  run(require)
}

/** At once, as entry.ts does. */
function exit(status: number): never {
  return (process as unknown as { reallyExit(status: number): never }).reallyExit(status)
}
