import { spawnSync } from 'node:child_process'
import { mkdtempSync, renameSync, rmdirSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { runInNewContext } from 'node:vm'
import { nodeFlags, v8Flags } from './flags.js'

// save BUILDER HEAP: runs the builder script (heap.ts) and saves the heap it leaves as HEAP, without the code of Node's other modules.

const [builder = 'dist/heap.cjs', heap = 'dist/podwire.heap'] = process.argv.slice(2)
const config = `${heap}.json`
writeFileSync(config, JSON.stringify({ builder, withoutCodeCache: true }))
const language = Reflect.ownKeys(runInNewContext('globalThis')).filter(
  (key) => typeof key === 'string' && key !== 'console',
)
const folder = mkdtempSync(path.join(tmpdir(), 'podwire-heap-'))
const saving = ['--snapshot-blob', `${heap}.new`, '--build-snapshot-config', config]
const { status, signal, stderr } = spawnSync(
  process.execPath,
  [...v8Flags, ...nodeFlags, ...saving, JSON.stringify(language), folder],
  { encoding: 'utf8', env: {} },
)
if (status !== 0 || stderr !== '') throw new Error(`cannot save the heap: ${signal ?? `exit ${status}`}\n${stderr}`)
rmdirSync(folder)
renameSync(`${heap}.new`, heap)
