import childProcess from 'node:child_process'
import { readdirSync, renameSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { promisify } from 'node:util'
import { nodeFlags, v8Flags } from './flags.js'

type MakeExecutable = (entry: string, options: object) => Promise<void>

/** Variables of the caller that a start must not read (OPENSSL_CONF, NODE_USE_ENV_PROXY); `execArgvExtension` covers NODE_OPTIONS. */
const deafness = ['--openssl-config=/dev/null', '--no-use-env-proxy']

/** No threads for V8's background work: there is none (flags.ts). */
const threads = ['--v8-pool-size=0']

/**
 * A code cache is only accepted by a V8 with the flags it was made under, and pkg passes none to the node that makes it
 * (NODE_OPTIONS does not take this one): hand them in where pkg starts that node.
 */
function passFlagsToBlobMaker(): void {
  const { execFile } = childProcess
  const run = promisify(execFile)
  const withFlags = (file: string, argv: string[]) =>
    run(file, argv[0] === '--experimental-sea-config' ? [...v8Flags, ...argv] : argv)
  childProcess.execFile = Object.assign(execFile.bind(undefined), { ...execFile, [promisify.custom]: withFlags })
}

/** pkg's SEA step by its own module: pkg's command line and public call cannot set the keys of seaConfig. */
function loadPkg(): MakeExecutable {
  passFlagsToBlobMaker()
  const require = createRequire(import.meta.url)
  const { log } = require('@yao-pkg/pkg-fetch/lib-es5/log') as { log: { info: unknown } }
  log.info = () => undefined
  return (require('@yao-pkg/pkg/lib-es5/sea') as { default: MakeExecutable }).default
}

/**
 * Puts the seals of a finished download beside the base binary that lies in pkg's cache, so that pkg uses it. Its `nodePath`
 * would be shorter, but makes it run the base, which for another architecture than this machine's fails.
 */
function sealBase(home: string, arch: string): void {
  const name = `node-${process.version}-linux-${arch}`
  for (const seal of [`${name}/bin/node.ok`, `${name}.tar.gz`, `${name}.tar.gz.ok`]) {
    writeFileSync(path.join(home, '.pkg-cache/sea', seal), '')
  }
}

/** The files of a folder by their names. */
function assetsIn(folder: string, useCodeCache: boolean): Record<string, string> {
  const names = readdirSync(folder).filter((name) => useCodeCache || !name.endsWith('.cache'))
  return Object.fromEntries(names.map((name) => [name, path.resolve(folder, name)]))
}

/**
 * Bakes the main script BUNDLE and the files of SCRIPTS into the base of ARCH as OUTPUT. A code cache belongs to the architecture
 * that made it: x64 only.
 */
async function main(arch: string, output: string, bundle: string, scripts: string): Promise<void> {
  const useCodeCache = arch === process.arch
  const home = path.resolve('dist/pkg')
  process.env['HOME'] = home
  sealBase(home, arch)
  const unfinished = path.resolve(`${output}.new`)
  await loadPkg()(path.resolve(bundle), {
    targets: [{ nodeRange: `node${process.version.slice(1)}`, platform: 'linux', arch, output: unfinished }],
    seaConfig: {
      disableExperimentalSEAWarning: true,
      useCodeCache,
      useSnapshot: false,
      execArgv: [...v8Flags, ...deafness, ...nodeFlags, ...threads],
      execArgvExtension: 'none',
      assets: scripts === '' ? {} : assetsIn(scripts, useCodeCache),
    },
  })
  renameSync(unfinished, output)
}

const [arch = process.arch, output = 'dist/podwire', bundle = 'dist/podwire.cjs', scripts = ''] = process.argv.slice(2)
await main(arch, output, bundle, scripts)
