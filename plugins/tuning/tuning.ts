import { throwDifferences } from '../../shared/net/interface.js'
import { setLink, sysctl } from '../../shared/net/ip.js'
import { insideTools, requireForAdd } from '../../shared/net/needs.js'
import { livingNetns, netnsAt, requireNetns } from '../../shared/net/netns.js'
import { attemptAll, type Host } from '../../shared/plan/host.js'
import type { Operation } from '../../shared/plan/operation.js'
import { type Call, definePlugin } from '../../shared/program/plugin.js'
import { checks, macOf, unicastMac } from '../../shared/values/checks.js'
import { asCniError, CniError, codes, type Problem } from '../../shared/values/errors.js'
import { typeFault } from '../../shared/values/json.js'
import { macFault } from '../../shared/values/official.js'
import { emptyResult, type Result } from '../../shared/values/result.js'
import { quoted } from '../../shared/values/token.js'
import { look, type Present } from './look.js'
import {
  type Attributes,
  areOf,
  fileOf,
  forgetOriginals,
  keepOriginals,
  type Originals,
  readOriginals,
  staleFiles,
} from './originals.js'
import {
  duplicateProblems,
  isOfEveryHost,
  requireAllowed,
  type Setting,
  settingsOf,
  sysctlProblems,
} from './sysctls.js'
import type { TuningConfiguration } from './tuning.schema.js'

type TuningCall = Call<TuningConfiguration>

/** Settings of the container's namespace and attributes of its interface, restored by DEL. */
export default definePlugin<TuningConfiguration>({
  name: 'tuning',
  official: () => ({
    load: 'failed to load netconf: ',
    library: 'NetConf.',
    structs: { '': 'TuningConf', args: '', 'args.cni': 'IPAMArgs', runtimeConfig: '' },
    types: {
      args: 'struct { A *main.IPAMArgs "json:\\"cni\\"" }',
      'args.cni': 'main.IPAMArgs',
      sysctl: '',
      'args.cni.sysctl': 'map[string]string',
      runtimeConfig: 'struct { Mac string "json:\\"mac,omitempty\\"" }',
    },
    says,
  }),

  argsKeys: ['MAC'],
  prevResult: { ADD: 'required', CHECK: 'required' },

  refuse({ config, args, stdin, environment }) {
    const mac = args.get('MAC') ?? ''
    const { ifName } = environment
    return [
      ...duplicateProblems(stdin),
      ...sysctlProblems(config.sysctl ?? {}, 'sysctl', ifName),
      ...sysctlProblems(config.args?.cni?.sysctl ?? {}, 'args.cni.sysctl', ifName),
      ...(mac === '' || unicastMac(mac) ? [] : [wrongMac(mac)]),
    ]
  },

  add(call) {
    const { host, environment, attachment, config } = call
    const wanted = wantedOf(call)
    requireAllowed(wanted.settings, host.files)
    const netns = requireNetns(environment.netns)
    const result = call.prevResult ?? emptyResult
    if (isNothing(wanted)) return result
    const present = look(host, netns, environment.ifName, wanted.settings)
    requireLink(wanted, present, call)
    const file = fileOf(directoryOf(config, host), attachment)
    const before = readOriginals(host, file)
    const isSame = before !== undefined && areOf(host, before, netns, () => present.observed)
    keepOriginals(host, file, originalsOf(wanted, present, call), isSame ? before : undefined)
    host.apply(changes(wanted, present, { link: environment.ifName, netns }))
    return tuned(result, wanted, environment.ifName)
  },

  check(call) {
    const { host, environment } = call
    const wanted = wantedOf(call)
    const netns = requireNetns(environment.netns)
    if (isNothing(wanted)) return
    const present = look(host, netns, environment.ifName, wanted.settings)
    requireLink(wanted, present, call)
    throwDifferences([
      ...attributeDifferences(wanted, present, environment.ifName),
      ...sysctlDifferences(wanted, present),
    ])
  },

  del({ host, environment, attachment, config }) {
    const file = fileOf(directoryOf(config, host), attachment)
    const originals = readOriginals(host, file)
    const netns = livingNetns(environment.netns)
    const at = { link: environment.ifName, netns: netns ?? '' }
    try {
      if (originals && netns !== undefined && areThere(host, originals, at)) host.sweep(restore(originals, at))
    } catch (thrown) {
      const { code, message, details } = asCniError(thrown)
      if (code === codes.tryAgainLater) throw thrown
      // The namespace is about to go: a value that cannot be restored must not keep the container from going, too.
      host.warn(`tuning: DEL goes on, ${message}\n${details}`)
    }
    forgetOriginals(host, file)
  },

  status(call) {
    const { config, host } = call
    // Of the links that a container will have, the host has this one.
    const { settings, attributes } = wantedOf({ ...call, environment: { ...call.environment, ifName: 'lo' } })
    requireForAdd(host, {
      programs: insideTools(host),
      writes: isNothing({ settings, attributes }) ? [] : [{ directory: directoryOf(config, host) }],
      settings: settings.map(({ path }) => path).filter(isOfEveryHost),
      also: [() => requireAllowed(settings, host.files)],
    })
  },

  gc({ host, config, validAttachments }) {
    if (validAttachments === undefined) return
    const stale = staleFiles(host, directoryOf(config, host), config.name, validAttachments)
    attemptAll(...stale.map((file) => () => forgetOriginals(host, file)))
  },
})

// --- internal

function wrongMac(value: string): Problem {
  return { path: 'CNI_ARGS MAC', value, expected: checks.macOrEmpty.expected, official: sayMac(value) }
}

function says({ path, value }: Problem): string | undefined {
  if (path.endsWith('mac')) return sayMac(value)
  if (path !== 'sysctl' && !path.startsWith('sysctl.')) return undefined
  return typeFault(value, 'struct field sysctlCheck.sysctl', path === 'sysctl' ? 'map[main.sysctlKey]string' : 'string')
}

function sayMac(value: unknown): string {
  const fault = macFault(value)
  return fault.endsWith('invalid MAC address') ? `invalid args ${value} for MAC addr: ${fault}` : fault
}

/** The link is looked at where only it can tell. */
function areThere(host: Host, originals: Originals, { link, netns }: At): boolean {
  return areOf(host, originals, netns, () => host.observer.link(link, netns))
}

/**
 * Where the originals are kept; a relative path begins at the caller's working directory, as for the official plugin.
 */
function directoryOf({ dataDir = '' }: TuningConfiguration, { files }: Pick<Host, 'files'>): string {
  if (dataDir === '') return '/run/cni/tuning'
  return dataDir.startsWith('/') ? dataDir : `${files.readLink('/proc/self/cwd')}/${dataDir}`
}

interface Wanted {
  readonly attributes: Attributes
  readonly settings: readonly Setting[]
}

interface At {
  readonly link: string
  readonly netns: string
}

/** What is asked for, the strongest last: configuration, CNI_ARGS, runtimeConfig, args.cni. */
function wantedOf({ config, args, environment }: Pick<TuningCall, 'config' | 'args' | 'environment'>): Wanted {
  const asked = config.args?.cni
  const mac = macOf(asked?.mac || config.runtimeConfig?.mac || args.get('MAC') || config.mac || '')
  const mtu = asked?.mtu || config.mtu
  const allmulti = asked?.allmulti ?? config.allmulti
  const txQLen = asked?.txQLen ?? config.txQLen
  return {
    attributes: {
      ...(mac === undefined ? {} : { mac }),
      ...(asked?.promisc || config.promisc ? { promisc: true } : {}),
      ...(mtu > 0 ? { mtu } : {}),
      ...(allmulti === undefined ? {} : { allmulti }),
      ...(txQLen === undefined ? {} : { txQLen }),
    },
    settings: settingsOf(config.sysctl ?? {}, asked?.sysctl ?? {}, environment.ifName),
  }
}

function isNothing({ attributes, settings }: Wanted): boolean {
  return settings.length === 0 && Object.keys(attributes).length === 0
}

function requireLink({ attributes }: Wanted, { link }: Present, { environment }: TuningCall): void {
  if (link || Object.keys(attributes).length === 0) return
  const { ifName, netns, command } = environment
  const official =
    command === 'CHECK' ? `Cannot find container link ${ifName}` : `failed to get "${ifName}": Link not found`
  throw new CniError(codes.unknownContainer, `cannot find container link ${ifName}`, {
    official,
    problems: [{ path: 'CNI_IFNAME', value: ifName, expected: `a link in ${netns}` }],
    fix: 'chain tuning behind the plugin that makes the interface',
  })
}

function originalsOf(
  { attributes, settings }: Wanted,
  { link, observed, sysctls }: Present,
  { attachment, host, environment }: TuningCall,
): Originals {
  const keys = Object.keys(attributes) as (keyof Attributes)[]
  const known = settings.filter(({ path }) => sysctls.has(path))
  const given = attributes.mac === undefined ? {} : { address: attributes.mac }
  return {
    ...(link ? Object.fromEntries(keys.map((key) => [key, link[key]])) : {}),
    ...(known.length > 0
      ? { sysctl: Object.fromEntries(known.map(({ path }) => [path, sysctls.get(path) ?? ''])) }
      : {}),
    podwire: { ...attachment, netns: netnsAt(host, environment.netns, observed && { ...observed, ...given }) },
  }
}

function changes({ attributes, settings }: Wanted, { link, sysctls }: Present, at: At): readonly Operation[] {
  const before = link ?? {}
  const keys = attributeOrder.filter((key) => attributes[key] !== undefined)
  return [
    ...settings.map((setting) => write(setting, sysctls.get(setting.path), at)),
    ...keys.map((key) => ({ ...setAttribute(key, attributes, at), undo: [setAttribute(key, before, at)] })),
  ]
}

/** What DEL does: everything back in reverse, what is gone is fine. */
function restore({ sysctl: settings = {}, ...attributes }: Originals, at: At): readonly Operation[] {
  const keys = attributeOrder.filter((key) => attributes[key] !== undefined)
  const operations = [
    ...Object.entries(settings)
      .reverse()
      .map(([path, value]) => write({ path, value, key: path }, undefined, at)),
    ...keys.map((key) => setAttribute(key, attributes, at)),
  ]
  return operations.map((operation) => ({ ...operation, tolerate: ['absent'] as const }))
}

/** Writes a setting, naming both values; undone where the old one could be read. */
function write({ path, value }: Setting, old: string | undefined, { netns }: At): Operation {
  const operation = (to: string): Operation => ({
    ...sysctl({ key: path, value: '', netns }),
    argv: ['-w', quoted(`${path}=${to}`)],
    why: `set the sysctl ${path} from ${JSON.stringify(old ?? 'unknown')} to ${JSON.stringify(to)}`,
    meaning: {
      absent: { code: codes.operationFailed, fix: 'check its name; a kernel module it belongs to may not be loaded' },
      denied: {
        code: codes.operationFailed,
        fix: 'let the runtime run where /proc/sys is writable; under SELinux, see "ausearch -m avc"',
      },
    },
  })
  return { ...operation(value), ...(old === undefined ? {} : { undo: [operation(old)] }) }
}

const attributeOrder = ['mac', 'promisc', 'mtu', 'allmulti', 'txQLen'] as const

const attributeWords: Record<keyof Attributes, (value: string | number | boolean) => readonly string[]> = {
  mac: (value) => ['address', String(value)],
  promisc: (value) => ['promisc', value ? 'on' : 'off'],
  mtu: (value) => ['mtu', String(value)],
  allmulti: (value) => ['allmulticast', value ? 'on' : 'off'],
  txQLen: (value) => ['txqueuelen', String(value)],
}

function setAttribute(key: keyof Attributes, attributes: Attributes, { link, netns }: At): Operation {
  const words = attributeWords[key](attributes[key] ?? '')
  return setLink({ link, netns }, words, `set ${words.join(' ')} on ${link}`)
}

/** The result with what was changed; the MAC address as the kernel prints it. */
function tuned(result: Result, { attributes: { mac, mtu } }: Wanted, ifName: string): Result {
  const interfaces = result.interfaces.map((one) => {
    if (one.name !== ifName || !one.sandbox) return one
    return { ...one, ...(mac ? { mac } : {}), ...(mtu && one.mtu !== undefined ? { mtu } : {}) }
  })
  return { ...result, interfaces }
}

/** What the official CHECK says of an attribute. */
function attributeText(key: keyof Attributes, wanted: unknown, found: unknown, ifName: string): string {
  const names = { mac: 'Ethernet', mtu: 'MTU', allmulti: 'all-multicast mode', txQLen: 'Transmit Queue Length' }
  if (key === 'promisc') return `Error: Tuning link ${ifName} configured promisc is ${wanted}, current value is 0`
  return `Error: Tuning configured ${names[key]} of ${ifName} is ${wanted}, current value is ${found}`
}

function attributeDifferences({ attributes }: Wanted, { link }: Present, ifName: string): readonly Problem[] {
  return attributeOrder
    .filter((key) => attributes[key] !== undefined && attributes[key] !== link?.[key])
    .map((key) => ({
      path: key,
      value: link?.[key],
      expected: String(attributes[key]),
      official: attributeText(key, attributes[key], link?.[key], ifName),
    }))
}

function sysctlDifferences({ settings }: Wanted, { sysctls }: Present): readonly Problem[] {
  return settings
    .filter(({ path, value }) => sysctls.get(path) !== value)
    .map(({ path, value }) => {
      const found = sysctls.get(path)
      const file = `/proc/sys/${path}`
      const official =
        found === undefined
          ? `open ${file}: no such file or directory`
          : `Error: Tuning configured value of ${file} is ${value}, current value is ${found}`
      return { path: file, value: found, expected: value, official }
    })
}
