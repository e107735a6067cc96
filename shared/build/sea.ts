import childProcess from 'node:child_process'
import { renameSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { promisify } from 'node:util'

type MakeExecutable = (entry: string, options: object) => Promise<void>

/** What V8 is told at every start: keep the hash seed of the saved heap, which spares a search for primes of about 4 ms. */
const v8Flags = ['--no-rehash-snapshot']

/** Variables of the caller that a start must not read (OPENSSL_CONF, NODE_USE_ENV_PROXY); `execArgvExtension` covers NODE_OPTIONS. */
const deafness = ['--openssl-config=/dev/null', '--no-use-env-proxy']

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

/** Bakes BUNDLE into the base of ARCH as OUTPUT. The code cache belongs to the architecture that made it: x64 only. */
async function main(arch: string, output: string, bundle: string): Promise<void> {
  const home = path.resolve('dist/pkg')
  process.env['HOME'] = home
  sealBase(home, arch)
  const unfinished = path.resolve(`${output}.new`)
  await loadPkg()(path.resolve(bundle), {
    targets: [{ nodeRange: `node${process.version.slice(1)}`, platform: 'linux', arch, output: unfinished }],
    seaConfig: {
      disableExperimentalSEAWarning: true,
      useCodeCache: arch === process.arch,
      useSnapshot: false,
      execArgv: [...v8Flags, ...deafness],
      execArgvExtension: 'none',
    },
  })
  renameSync(unfinished, output)
}

const [arch = process.arch, output = 'dist/podwire', bundle = 'dist/podwire.cjs'] = process.argv.slice(2)
await main(arch, output, bundle)
