import childProcess from 'node:child_process'
import { readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { promisify } from 'node:util'
import { nodeFlags, v8Flags } from '../heap/flags.js'
import { alignAssets, packAssets } from './assets.js'
import { leaveOut } from './idle.js'
import { bindExecutable } from './prelink.js'
import { places, setRunpath } from './runpath.js'
import { seal } from './seal.js'
import { startNoThreads } from './threads.js'

type MakeExecutable = (entry: string, options: object) => Promise<void>

/**
 * Variables of the caller that a start must not read (OPENSSL_CONF, NODE_USE_ENV_PROXY); `execArgvExtension` covers
 * NODE_OPTIONS.
 */
const withoutInputs = ['--openssl-config=/dev/null', '--no-use-env-proxy']

/**
 * One thread for V8's background work, the fewest Node makes: there is none (threads.ts makes it no thread where it
 * can). 0 would be one for each processor but one. And none that waits for SIGUSR1 to start an inspector.
 */
const threads = ['--v8-pool-size=1', '--disable-sigusr1']

/**
 * As a start has it (flags.ts). At its end Node's main thread waits for the work that V8's threads still have, and
 * where one of them, compiling, waits for the main thread to collect garbage, both wait for ever: of calls of the
 * program on a busy machine one in some hundreds.
 */
const inOneThread = ['--single-threaded']

/**
 * The program is large beside what it keeps: without these an agent with 5,000 nodes takes 120 MB more. Marking in
 * steps lets garbage grow to as much as is in use before it has come to its end.
 */
const frugal = ['--max-semi-space-size=2', '--optimize-for-size', '--expose-gc', '--no-incremental-marking']

function withLength(bytes: Buffer): Buffer {
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(bytes.length))
  return Buffer.concat([length, bytes])
}

/**
 * Puts a saved heap in the place of the main script of the blob that Node made, as it does itself for `useSnapshot`;
 * that would save the heap anew, with the code of 441 modules that no start wants (4 MB to copy). Format: SeaSerializer
 * in Node's src/node_sea.cc, a magic number, flags, then strings after their lengths.
 */
function putHeap(blob: string, script: string, heap: string): void {
  const usesSnapshot = 1 << 1
  const bytes = readFileSync(blob)
  const main = withLength(readFileSync(script))
  const at = bytes.indexOf(main)
  if (at < 0 || bytes.readUInt32LE(0) !== 0x143da20) throw new Error(`${blob}: not a blob of ${script}`)
  bytes.writeUInt32LE(bytes.readUInt32LE(4) | usesSnapshot, 4)
  const parts = [bytes.subarray(0, at), withLength(readFileSync(heap)), bytes.subarray(at + main.length)]
  writeFileSync(blob, Buffer.concat(parts))
}

/**
 * Has the Node that makes the blob for pkg run with V8's flags of a start, since a code cache is only accepted by a V8
 * with the flags it was made under (NODE_OPTIONS does not take this one), and puts `heap`, if it is one, into what it
 * made.
 */
function guideBlobMaker(heap: string): void {
  const { execFile } = childProcess
  const run = promisify(execFile)
  const guided = async (file: string, argv: string[]) => {
    const [option, config = ''] = argv
    if (option !== '--experimental-sea-config') return run(file, argv)
    const outcome = await run(file, [...v8Flags, ...argv])
    const { main, output } = JSON.parse(readFileSync(config, 'utf8')) as { main: string; output: string }
    if (heap !== '') putHeap(output, main, heap)
    return outcome
  }
  childProcess.execFile = Object.assign(execFile.bind(undefined), { ...execFile, [promisify.custom]: guided })
}

/** pkg's SEA step by its own module: pkg's command line and public call cannot set the keys of seaConfig. */
function loadPkg(): MakeExecutable {
  const require = createRequire(import.meta.url)
  const { log } = require('@yao-pkg/pkg-fetch/lib-es5/log') as { log: { info: unknown } }
  log.info = () => undefined
  return (require('@yao-pkg/pkg/lib-es5/sea') as { default: MakeExecutable }).default
}

/**
 * Puts the seals of a finished download beside the base binary that lies in pkg's cache, so that pkg uses it. Its
 * `nodePath` would be shorter, but makes it run the base, which for another architecture than this machine's fails.
 */
function sealBase(home: string, arch: string): void {
  const name = `node-${process.version}-linux-${arch}`
  for (const seal of [`${name}/bin/node.ok`, `${name}.tar.gz`, `${name}.tar.gz.ok`]) {
    writeFileSync(path.join(home, '.pkg-cache/sea', seal), '')
  }
}

/** The files of a folder by their names; or one file. */
function assetsIn(folder: string, withCaches: boolean): Record<string, string> {
  if (isOneFile(folder)) return { [path.basename(folder)]: path.resolve(folder) }
  const names = readdirSync(folder).filter((name) => withCaches || !name.endsWith('.cache'))
  return Object.fromEntries(names.map((name) => [name, path.resolve(folder, name)]))
}

function isOneFile(scripts: string): boolean {
  return scripts.endsWith('.cjs')
}

/** What a binary is made of. */
interface Ingredients {
  arch: string
  output: string
  /** The main script. */
  bundle: string
  /** The folder of what it carries; of the program for people one file. */
  scripts: string
  /** The saved heap it starts from, "" for Node's own; of the same architecture, as the caches among the scripts. */
  heap: string
  /** Stands on Node's public interfaces alone: no option shows others, nothing in the base is patched. */
  isPlain: boolean
}

async function main({ arch, output, bundle, scripts, heap, isPlain }: Ingredients): Promise<void> {
  const useCodeCache = arch === process.arch && heap === '' && !isPlain
  const home = path.resolve('dist/pkg')
  process.env['HOME'] = home
  sealBase(home, arch)
  const unfinished = path.resolve(`${output}.new`)
  if (!isPlain) guideBlobMaker(heap && path.resolve(heap))
  const files = scripts === '' ? {} : assetsIn(scripts, heap !== '')
  const assets = heap === '' ? files : packAssets(files, path.resolve(`${output}.assets`))
  await loadPkg()(path.resolve(bundle), {
    targets: [{ nodeRange: `node${process.version.slice(1)}`, platform: 'linux', arch, output: unfinished }],
    seaConfig: {
      disableExperimentalSEAWarning: true,
      useCodeCache,
      useSnapshot: false,
      execArgv: isPlain
        ? [...inOneThread, ...withoutInputs, ...threads, ...(isOneFile(scripts) ? frugal : [])]
        : [...v8Flags, ...withoutInputs, ...nodeFlags, ...threads],
      execArgvExtension: 'none',
      assets,
    },
  })
  if (heap !== '') {
    startNoThreads(unfinished, arch)
    leaveOut(unfinished, arch)
    bindExecutable(unfinished)
    alignAssets(unfinished, assets)
  }
  if (scripts !== '' || isPlain) setRunpath(unfinished, places.join(':'))
  seal(unfinished)
  renameSync(unfinished, output)
}

// sea ARCH OUTPUT BUNDLE [SCRIPTS [HEAP]]: makes a binary, with HEAP `plain` one that stands on Node's public
// interfaces alone.
const [arch = process.arch, output = 'dist/podwire', bundle = 'dist/podwire.cjs', scripts = '', heap = ''] =
  process.argv.slice(2)
const isPlain = heap === 'plain'
await main({ arch, output, bundle, scripts, heap: isPlain ? '' : heap, isPlain })
