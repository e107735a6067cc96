import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { runInNewContext } from 'node:vm'
import { nodeFlags, v8Flags } from './flags.js'

// save BUILDER HEAP NODE...: runs the builder script (heap.ts) by NODE, a Node of the heap's processor and what runs it
// here, and saves the heap it leaves as HEAP.

/** A length or a number of entries, as the snapshot has them; undefined where there is none that makes sense. */
function numberAt(bytes: Buffer, at: number): number | undefined {
  if (at + 8 > bytes.length || bytes.readUInt32LE(at + 4) !== 0) return undefined
  return bytes.readUInt32LE(at)
}

/**
 * Where entries end, if there are some at `at`: their number, then of each its name and its code, after their lengths.
 */
function endOfEntries(bytes: Buffer, at: number): number | undefined {
  const count = numberAt(bytes, at)
  if (count === undefined || count < 100 || count > 10_000) return undefined
  let end = at + 8
  for (let part = 0; part < 2 * count; part++) {
    const length = numberAt(bytes, end)
    if (length === undefined) return undefined
    end += 8 + length
  }
  return end
}

/**
 * A snapshot without the code that Node adds for all its own modules, 4 MB which each start would copy. It is the last
 * part (SnapshotSerializer in Node's src/node_snapshotable.cc). Node's own `withoutCodeCache` throws the code of the
 * heap's functions away, too.
 */
function withoutModules(snapshot: Buffer): Buffer {
  for (let at = 0; at < snapshot.length; at++) {
    if (endOfEntries(snapshot, at) === snapshot.length)
      return Buffer.concat([snapshot.subarray(0, at), Buffer.alloc(8)])
  }
  throw new Error('the snapshot does not end with the code of modules')
}

function save(builder: string, heap: string, [command = process.execPath, ...words]: readonly string[]): void {
  const whole = `${heap}.whole`
  const folder = mkdtempSync(path.join(tmpdir(), 'podwire-heap-'))
  const names = Reflect.ownKeys(runInNewContext('globalThis'))
  const language = JSON.stringify(names.filter((name) => typeof name === 'string' && name !== 'console'))
  const saving = ['--snapshot-blob', whole, '--build-snapshot', builder, language, folder]
  const argv = [...words, ...v8Flags, ...nodeFlags, ...saving]
  try {
    const { status, signal, stderr, error } = spawnSync(command, argv, { encoding: 'utf8', env: {} })
    if (error) throw error
    if (status !== 0 || stderr !== '') throw new Error(`cannot save the heap: ${signal ?? `exit ${status}`}\n${stderr}`)
    writeFileSync(heap, withoutModules(readFileSync(whole)))
  } finally {
    for (const made of [folder, whole]) rmSync(made, { recursive: true, force: true })
  }
}

const [builder = 'dist/heap.cjs', heap = 'dist/podwire.heap', ...node] = process.argv.slice(2)
save(builder, heap, node)
