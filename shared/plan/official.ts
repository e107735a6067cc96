import { firstLine, type Reason } from '../exec/stderr.js'
import { errnoText } from '../values/errno.js'
import type { Operation } from './operation.js'
import { settingOf } from './setting.js'

/** What is known of a refusal. */
interface Refused {
  readonly operation: Operation
  readonly reason: Reason
  readonly stderr: string
  /** What the kernel answered a request for the same: a negative errno. */
  readonly kernelError?: number | undefined
}

/**
 * What the official suite says where the kernel refuses it the same, in the words of Go's syscall package; undefined
 * where it does nothing like it. conformance/words/refusals.ts has what the official plugins say.
 */
export function officialRefusal(refused: Refused): string | undefined {
  const { tool, argv } = refused.operation
  if (tool === 'sysctl') return ofSetting(refused)
  const said = errorText(refused)
  const words = argv[0]?.startsWith('-') ? argv.slice(1) : argv
  if (tool === 'tc') return ofQueue(words, said)
  return tool === 'ip' ? ofIp(words, said) : undefined
}

// --- internal

const reasonTexts: Partial<Record<Reason, string>> = {
  exists: 'file exists',
  busy: 'device or resource busy',
  unsupported: 'operation not supported',
}

/** The kernel's error; where only the tool was asked, from its words: those of the C library in lower case. */
function errorText({ kernelError = 0, reason, stderr }: Refused): string {
  const line = firstLine(stderr)
  return errnoText(kernelError) ?? reasonTexts[reason] ?? line.slice(0, 1).toLowerCase() + line.slice(1)
}

function ofSetting({ operation, reason, stderr }: Refused): string {
  const { path } = settingOf(operation)
  if (reason === 'absent') return `open ${path}: no such file or directory`
  if (stderr.includes('s a directory')) return `open ${path}: is a directory`
  if (stderr.includes('Read-only file system')) return `open ${path}: read-only file system`
  return reason === 'denied' ? `open ${path}: permission denied` : `write ${path}: invalid argument`
}

function ofQueue([object, , , , kind]: readonly string[], said: string): string {
  if (object === 'filter') return `add filter: ${said}`
  return kind === 'root' ? `create qdisc: ${said}` : `create ingress qdisc: ${said}`
}

function ofIp(words: readonly string[], said: string): string | undefined {
  const after = (word: string) => words[words.indexOf(word) + 1] ?? ''
  const [object = '', verb = ''] = words
  if (object === 'addr' && verb === 'add') return `failed to add IP addr ${words[2]} to "${after('dev')}": ${said}`
  if (object === 'route' && verb !== 'del') return `failed to add route '${goRoute(words)}': ${said}`
  if (object === 'rule' && verb === 'add') return `Failed to add rule: ${said}`
  if (object !== 'link') return undefined
  if (verb === 'add') return ofNewLink(after('type'), words, said)
  if (words[4] === 'up') return `failed to set "${words[3]}" UP: ${said}`
  return attributes.includes(words[4] ?? '') ? said : undefined
}

/** What the official tuning sets, and says nothing about but the error itself. */
const attributes = ['mtu', 'promisc', 'allmulticast', 'txqueuelen', 'address']

function ofNewLink(type: string, words: readonly string[], said: string): string | undefined {
  const name = words[3] ?? ''
  const isThere = said === 'file exists'
  switch (type) {
    case 'veth':
      return isThere
        ? `container veth name ("${words[words.lastIndexOf('name') + 1]}") peer provided ("${name}") already exists`
        : `failed to make veth pair: ${said}`
    case 'macvlan':
    case 'ipvlan':
      return isThere ? `failed to rename ${type} to "${name}": ${said}` : `failed to create ${type}: ${said}`
    case 'vlan':
      // The name is taken, or the VLAN: the kernel has one error for both.
      return `failed to create vlan: ${said}${isThere ? `; failed to rename vlan to "${name}": ${said}` : ''}`
    case 'dummy':
      return `failed to create dummy: ${said}`
    case 'bridge':
      return `failed to create bridge "${name}": could not add "${name}": ${said}`
    case 'vrf':
      return `cmdAdd failed: could not add VRF ${name}: ${said}`
    case 'ifb':
      return `adding link: ${said}`
    default:
      return undefined
  }
}

/** A route of `ip route add` as the official library prints it. */
function goRoute(words: readonly string[]): string {
  const of = (word: string, otherwise: string) => {
    const at = words.indexOf(word)
    return at < 0 ? otherwise : (words[at + 1] as string)
  }
  const gateway = words.includes('inet6') ? of('inet6', '') : of('via', '<nil>')
  const link = `dev ${of('dev', '')} metric ${of('metric', '0')}`
  return `${goSubnet(words[2] ?? '')} via ${gateway} ${link} (Scope: ${scopeOf(of('scope', '0'))}, Table: ${of('table', '0')})`
}

const scopeOf = (scope: string): string =>
  ({ '0': 'universe', '200': 'site', '253': 'link', '254': 'host', '255': 'nowhere' })[scope] ?? 'unknown'

/** "10.7.0.0/16" as "{10.7.0.0 ffff0000}". */
function goSubnet(text: string): string {
  const [address = '', prefix = '0'] = text.split('/')
  const digits = address.includes(':') ? 32 : 8
  const bits = '1'.repeat(Number(prefix)).padEnd(digits * 4, '0')
  const mask = Array.from({ length: digits }, (_, at) =>
    Number.parseInt(bits.slice(at * 4, at * 4 + 4), 2).toString(16),
  )
  return `{${address} ${mask.join('')}}`
}
