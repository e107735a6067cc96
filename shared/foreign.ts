import { closeSync, openSync, readFileSync, readlinkSync, readSync } from 'node:fs'
import { names } from 'podwire:plugins'
import { version as release } from 'podwire:version'
import { delegations } from './exec/delegate.js'
import { ipamType, memberOf, type Request, readInput, readRequest } from './program/invoke.js'
import { fileName, linkTargets, pluginsCalled } from './program/name.js'
import type { Invocation } from './start.js'
import { answer, exit, say } from './system/standard.js'
import { type Environment, readEnvironment } from './values/environment.js'
import { asCniError, attributed, CniError, codes, printError } from './values/errors.js'
import { printVersions, versions } from './values/version.js'

// The script of a start by a name that is no plugin's, as others ship and wrap plugins (buildkit-cni-bridge,
// .bridge-wrapped, cnv-bridge): finds out which plugin is meant, and becomes that.

declare const told: Invocation

const { argv0, env } = process
const called = fileName(argv0)

/**
 * @throws code 7 where nothing says which plugin it is, or two are meant; what the environment and stdin are refused
 * for
 */
function main(): void {
  const plugin = only(pluginsCalled(called, targets()), called)
  const command = env['CNI_COMMAND'] ?? ''
  if (plugin !== undefined) told.become(plugin)
  else if (command === '') end(2, about())
  else becomeOther(readEnvironment(env))
}

function becomeOther(environment: Environment): void {
  if (environment.command === 'VERSION') return void end(1, printVersions(versions))
  told.become(pluginOfType(readRequest(environment, readInput(told.stdin))))
}

/**
 * What the links lead to by which it was called: the path in argv[0], and, where that is another one, the path that was
 * executed.
 */
function targets(): readonly string[] {
  const paths = new Set([...(argv0.includes('/') ? [argv0] : []), executedPath()])
  return [...paths].flatMap((path) => linkTargets(path, readlinkSync))
}

/** The path given to execve, in which links are not resolved (AT_EXECFN of getauxval(3)), or "". */
function executedPath(): string {
  const executedName = 31n
  try {
    const words = Buffer.from(readFileSync('/proc/self/auxv', 'latin1'), 'latin1')
    for (let at = 0; at < words.length; at += 16) {
      if (words.readBigUInt64LE(at) === executedName) return textAt(Number(words.readBigUInt64LE(at + 8)))
    }
  } catch {
    // Without /proc argv[0] is all there is.
  }
  return ''
}

/** A text of this process by its address. @throws the system's error */
function textAt(address: number): string {
  const fd = openSync('/proc/self/mem', 'r')
  try {
    const bytes = Buffer.alloc(4096)
    const length = readSync(fd, bytes, 0, bytes.length, address)
    const end = bytes.indexOf(0)
    return bytes.toString('utf8', 0, end < 0 ? length : end)
  } finally {
    closeSync(fd)
  }
}

/** What the configuration calls itself; not where another plugin asks for addresses: then `type` is that one's. */
function pluginOfType({ json }: Request): string {
  const network = String(json['name'])
  const isDelegate = ipamType(json) === called || env[delegations] !== undefined
  const type = memberOf(json, 'type')
  const plugin = isDelegate || typeof type !== 'string' ? undefined : only(pluginsCalled(fileName(type), []), type)
  if (plugin !== undefined) return plugin
  const path = isDelegate ? 'ipam.type' : 'type'
  const value = isDelegate ? ipamType(json) : type
  const error = new CniError(codes.invalidConfiguration, `"${called}" is no name of a plugin`, {
    problems: [{ path, value, expected: `a name that has a plugin's as its last or first part: ${names.join(', ')}` }],
    fix: `give the program "${argv0}", or a symbolic link to it, such a name, as "x-${isDelegate ? 'host-local' : 'bridge'}"`,
  })
  throw attributed(error, 'podwire', network)
}

function only([plugin, other]: readonly string[], name: string): string | undefined {
  if (other === undefined) return plugin
  throw new CniError(codes.invalidConfiguration, `podwire: "${name}" can mean the plugin ${plugin} or ${other}`, {
    problems: [{ path: 'name', value: name, expected: "the name of one plugin as the program's last or first part" }],
    fix: `rename the program "${argv0}", or start it by a symbolic link to a plugin's name`,
    complete: true,
  })
}

function about(): string {
  const lines = [`CNI plugins of podwire v${release}: ${names.join(', ')}`, `called by a name of none: ${called}`]
  return `${lines.join('\n')}\nCNI protocol versions supported: ${versions.join(', ')}\n`
}

function end(fd: 1 | 2, text: string): void {
  if (fd === 1) answer(text)
  else say(text)
  exit(0)
}

try {
  main()
} catch (thrown) {
  const error = printError(asCniError(thrown))
  try {
    answer(error)
  } catch {
    exit(1, `${error}\n`)
  }
  exit(1)
}
